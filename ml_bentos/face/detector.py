"""Finding faces: YuNet (Wu, Peng, Yu 2023, "YuNet: a tiny millisecond-level face detector") through OpenCV.

YuNet is best with faces of 32 to 480 px, so a large frame is first scaled down: that is faster as well. An OpenCV
detector keeps buffers and an input size, so it must not be shared between threads: each thread has its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from ml_bentos.face.alignment import Float32, Image, crop_around, invert

SCORE_THRESHOLD = 0.6
NMS_THRESHOLD = 0.3
TOP_K = 5000
# The first pass sees the frame at most this long; a face wider than LARGE_FACE there is looked for again at half size.
FIRST_PASS_SIDE = 480
LARGE_FACE = 300.0
# The second pass looks at one face at one scale. One detection's landmarks are off by 2-3 px (of a face 100 px wide), but
# ten or so anchors fire for a face, and their mean is off by half as much; 70 px is the scale at which they agree best.
REFINE_SIZE = 160
REFINE_FACE = 70.0
REFINE_SCORE = 0.3
# No suppression: every anchor's opinion is wanted.
REFINE_NMS = 1.0
# Mirroring a picture makes the left eye the right one.
MIRRORED = np.array([1, 0, 2, 4, 3])


@dataclass(frozen=True, eq=False)
class Face:
    """A face found. box: float32[4] x, y, w, h; landmarks: float32[5, 2] (eyes, nose, mouth corners; the picture's
    left first); both in px of the given image. score: the detector's confidence, 0..1."""

    box: Float32
    landmarks: Float32
    score: float

    @property
    def width(self) -> float:
        """Width of the box in px."""
        return float(self.box[2])

    @property
    def area(self) -> float:
        """Area of the box in px^2."""
        return float(self.box[2] * self.box[3])


class Detector:
    """YuNet from its ONNX bytes; callable from any thread."""

    def __init__(self, onnx_model: bytes) -> None:
        self._model = np.frombuffer(onnx_model, np.uint8)
        self._local = threading.local()

    def detect(self, bgr: Image) -> list[Face]:
        """Faces of a BGR image uint8[h, w, 3], the biggest first; boxes and landmarks in px of that image."""
        side = max(bgr.shape[:2])
        scale = min(1.0, FIRST_PASS_SIDE / side)
        faces = self._at_scale(bgr, scale)
        while faces and faces[0].width * scale > LARGE_FACE:
            scale /= 2
            again = self._at_scale(bgr, scale)
            if not again:
                break
            faces = again
        return faces

    def refine(self, bgr: Image, face: Face) -> tuple[Float32, Float32]:
        """The face's landmarks found twice more on a crop of a fixed scale: as it is, and in the mirror image.

        Returns two float32[5, 2] in px of `bgr` (both of the face as it is), independent enough that embeddings by one and
        by the other average out what the landmarks err; `face.landmarks` where nothing is found.
        """
        crop, matrix = crop_around(bgr, face.box, REFINE_SIZE, REFINE_FACE)
        direct = self._mean_landmarks(crop)
        mirrored = self._mean_landmarks(np.ascontiguousarray(crop[:, ::-1]))
        if mirrored is not None:
            mirrored = mirrored[MIRRORED]
            mirrored[:, 0] = REFINE_SIZE - 1 - mirrored[:, 0]
        first = face.landmarks if direct is None else invert(matrix, direct)
        return first, first if mirrored is None else invert(matrix, mirrored)

    def _mean_landmarks(self, crop: Image) -> Float32 | None:
        """The landmarks of the face in the middle of a crop, the mean over the anchors weighted by score."""
        found = self._run(crop, REFINE_SCORE, REFINE_NMS)
        if found is None:
            return None
        distance = np.hypot(*(found[:, :2] + found[:, 2:4] / 2 - REFINE_SIZE / 2).T)
        found = found[distance < REFINE_FACE / 4]
        if not len(found):
            return None
        return np.asarray(np.average(found[:, 4:14], axis=0, weights=found[:, 14]).reshape(5, 2), np.float32)

    def _at_scale(self, bgr: Image, scale: float) -> list[Face]:
        height, width = bgr.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = bgr if scale == 1.0 else cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        found = self._run(np.asarray(frame, np.uint8))
        if found is None:
            return []
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        faces = [
            Face(
                np.concatenate([row[:2] * ratio, row[2:4] * ratio]).astype(np.float32),
                (row[4:14].reshape(5, 2) * ratio).astype(np.float32),
                float(row[14]),
            )
            for row in found
        ]
        return sorted(faces, key=lambda f: f.area, reverse=True)

    def _run(self, frame: Image, score: float = SCORE_THRESHOLD, nms: float = NMS_THRESHOLD) -> Float32 | None:
        size = (frame.shape[1], frame.shape[0])
        detectors = self._local.__dict__.setdefault("detectors", {})
        detector = detectors.get((score, nms))
        if detector is None:
            empty = np.empty(0, np.uint8)
            detector = cv2.FaceDetectorYN.create("onnx", self._model, empty, size, score, nms, TOP_K)
            detectors[score, nms] = detector
        detector.setInputSize(size)
        found = detector.detect(frame)[1]
        return None if found is None else np.asarray(found, np.float32)
