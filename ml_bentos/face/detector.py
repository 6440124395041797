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
# No suppression: every anchor's opinion is wanted.
ALL_ANCHORS = (0.3, 1.0)
BEST_ANCHOR = (SCORE_THRESHOLD, NMS_THRESHOLD)
# Mirroring a picture makes the left eye the right one.
MIRRORED = np.array([1, 0, 2, 4, 3])


_creation = threading.Lock()


@dataclass(frozen=True)
class View:
    """How a face is looked at once more: for its landmarks on a square crop of crop_px in which it is face_px wide, as it
    is or mirrored, taking the mean over all anchors that fire for it (weighted by score) or the best one's; then aligned
    with the face `scale` times as large as the template has it."""

    crop_px: int
    face_px: float
    mirrored: bool
    mean: bool
    scale: float

    @property
    def settings(self) -> tuple[float, float]:
        """The detector's score and overlap thresholds."""
        return ALL_ANCHORS if self.mean else BEST_ANCHOR


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

    def landmarks(self, bgr: Image, face: Face, view: View) -> Float32:
        """The face's landmarks float32[5, 2] (px of `bgr`) found again in a view; `face.landmarks` where that fails."""
        crop, matrix = crop_around(bgr, face.box, view.crop_px, view.face_px)
        if view.mirrored:
            crop = np.ascontiguousarray(crop[:, ::-1])
        found = self._run(crop, *view.settings)
        if found is None:
            return face.landmarks
        # Of several faces in the crop, the one in its middle is the one that was asked for.
        distance = np.hypot(*(found[:, :2] + found[:, 2:4] / 2 - view.crop_px / 2).T)
        near = distance < view.face_px / 4 if view.mean else distance == distance.min()
        if not near.any() or distance.min() > view.face_px / 2:
            return face.landmarks
        found = found[near]
        points = np.average(found[:, 4:14], axis=0, weights=found[:, 14]).reshape(5, 2)
        if view.mirrored:
            points = points[MIRRORED]
            points[:, 0] = view.crop_px - 1 - points[:, 0]
        return invert(matrix, np.asarray(points, np.float32))

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
            detector = detectors[score, nms] = self._create(size, score, nms)
        detector.setInputSize(size)
        found = detector.detect(frame)[1]
        return None if found is None else np.asarray(found, np.float32)

    def _create(self, size: tuple[int, int], score: float, nms: float) -> cv2.FaceDetectorYN:
        # OpenCV 5 warns at each creation that its new engine takes no target; the default one is what is wanted.
        with _creation:
            level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            try:
                return cv2.FaceDetectorYN.create("onnx", self._model, np.empty(0, np.uint8), size, score, nms, TOP_K)
            finally:
                cv2.utils.logging.setLogLevel(level)
