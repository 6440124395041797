"""The face model: one object that finds, aligns and embeds, with a version that its vectors belong to.

Loaded once a process, under a lock; afterwards nothing in it changes, so any number of threads may call it.
"""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from ml_bentos.face import weights as weights_module
from ml_bentos.face.alignment import CROP_SIZE, Float32, Image, align
from ml_bentos.face.backends import Backend, OnnxBackend
from ml_bentos.face.detector import Detector, Face
from ml_bentos.face.network import EMBEDDING_DIM


class FaceModel:
    """A detector and an embedder of one version.

    version: what every vector made by it must be labelled with. dim: length of a vector.
    """

    dim = EMBEDDING_DIM

    def __init__(self, version: str, detector: Detector, backend: Backend) -> None:
        self.version = version
        self.detector = detector
        self.backend = backend

    def detect(self, bgr: Image) -> list[Face]:
        """The faces of uint8[h, w, 3] BGR, biggest first; boxes and landmarks in px of that image."""
        return self.detector.detect(bgr)

    def crop(self, bgr: Image, face: Face) -> Image:
        """The aligned crop uint8[112, 112, 3] BGR, by landmarks found again at a fixed scale."""
        refined = self.detector.refine(bgr, face)
        return align(bgr, refined.landmarks)

    def embed(self, bgr: Image, face: Face) -> Float32:
        """float32[128], L2-normalised: the mean over the aligned crop and its mirror image."""
        return np.asarray(self.embed_crops(self.crop(bgr, face)[None])[0])

    def embed_crops(self, crops: NDArray[np.uint8]) -> Float32:
        """uint8[n, 112, 112, 3] BGR aligned crops -> float32[n, 128], L2-normalised, flip-averaged."""
        count = len(crops)
        rgb = np.empty((2 * count, 3, CROP_SIZE, CROP_SIZE), np.float32)
        rgb[:count] = crops[..., ::-1].transpose(0, 3, 1, 2)
        rgb[count:] = rgb[:count, :, :, ::-1]
        raw = normalise(self.backend(rgb))
        return normalise(np.asarray(raw[:count] + raw[count:]))


def normalise(vectors: Float32) -> Float32:
    """Vectors float32[..., d] of length 1 along the last axis."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


_loaded: dict[str, FaceModel] = {}
_lock = threading.Lock()


def load_model(version: str | None = None) -> FaceModel:
    """The model of a version (default: the shipped one), loaded once a process and warmed up.

    Raises WeightsError when the files are missing or their SHA-256 differs.
    """
    weights = weights_module.weight_set(version)
    with _lock:
        model = _loaded.get(weights.version)
        if model is None:
            detector = Detector(weights_module.read(weights, weights.detector))
            backend = OnnxBackend(weights_module.read(weights, weights.embedder))
            model = FaceModel(weights.version, detector, backend)
            model.detect(np.zeros((240, 320, 3), np.uint8))
            model.embed_crops(np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8))
            _loaded[weights.version] = model
    return model


# OpenCV's own pool would compete with the embedder's threads for the same cores; YuNet is too small to gain by it.
cv2.setNumThreads(1)
