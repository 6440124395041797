"""The face model: one object that finds, aligns and embeds, with a version that its vectors belong to.

Loaded once a process, under a lock; afterwards nothing in it changes, so any number of threads may call it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from ml_bentos.face import backends
from ml_bentos.face import weights as weights_module
from ml_bentos.face.alignment import CROP_SIZE, Float32, Image, align
from ml_bentos.face.detector import Detector, Face
from ml_bentos.face.network import EMBEDDING_DIM
from ml_bentos.face.population import Population
from ml_bentos.face.vectors import normalise

VIEWS = 2


class FaceModel:
    """A detector and an embedder of one version.

    version: what every vector made by it must be labelled with. dim: length of a vector.
    """

    dim = EMBEDDING_DIM

    def __init__(
        self, version: str, detector: Detector, backend: backends.Backend, mean: Float32 | None = None
    ) -> None:
        """mean: float32[128], the population's mean embedding, taken off every vector (None while it is measured)."""
        self.version = version
        self.detector = detector
        self.backend = backend
        self._mean = np.zeros(self.dim, np.float32) if mean is None else mean
        # The views of a face run side by side, each on one core: with more threads for each layer, they would wait for one
        # another at every layer, for long when other processes want the cores.
        self._pool = ThreadPoolExecutor(backends.cores(), thread_name_prefix="embed")

    def detect(self, bgr: Image) -> list[Face]:
        """The faces of uint8[h, w, 3] BGR, biggest first; boxes and landmarks in px of that image."""
        return self.detector.detect(bgr)

    def embed(self, bgr: Image, face: Face) -> Float32:
        """float32[128], L2-normalised: the mean over two views of the face, less the population's mean."""
        return np.asarray(self.embed_views(self.views(bgr, face)[None])[0])

    def views(self, bgr: Image, face: Face) -> Image:
        """uint8[2, 112, 112, 3] BGR: the face aligned, and its mirror image aligned by landmarks found again.

        Averaging a face with its mirror image is common; that each is aligned by its own landmarks averages their errors
        as well, which gains more than the mirroring itself.
        """
        direct, mirrored = self.detector.refine(bgr, face)
        return np.stack([align(bgr, direct), align(bgr, mirrored)[:, ::-1]])

    def embed_views(self, views: NDArray[np.uint8]) -> Float32:
        """uint8[n, v, 112, 112, 3] BGR views of n faces -> float32[n, 128], L2-normalised."""
        count, each = views.shape[:2]
        raw = normalise(self._run(views.reshape(count * each, *views.shape[2:])))
        mean = normalise(np.asarray(raw.reshape(count, each, -1).sum(1), np.float32))
        return normalise(mean - self._mean)

    def _run(self, crops: NDArray[np.uint8]) -> Float32:
        rgb = np.ascontiguousarray(crops[..., ::-1].transpose(0, 3, 1, 2), np.float32)
        parts: Sequence[Float32] = list(self._pool.map(self.backend, np.split(rgb, len(rgb))))
        return np.concatenate(parts)


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
            model = assemble(weights, Population.for_version(weights.version).mean)
            _loaded[weights.version] = model
    return model


def assemble(weights: weights_module.WeightSet, mean: Float32 | None) -> FaceModel:
    """A new model from a set of weights, warmed up; `mean` as for FaceModel."""
    # OpenCV's own pool would compete for the same cores; YuNet is too small to gain by it.
    cv2.setNumThreads(1)
    detector = Detector(weights_module.read(weights, weights.detector))
    backend = backends.fastest(weights_module.read(weights, weights.embedder))
    model = FaceModel(weights.version, detector, backend, mean)
    model.detect(np.zeros((240, 320, 3), np.uint8))
    for _ in range(2):
        model.embed_views(np.zeros((1, VIEWS, CROP_SIZE, CROP_SIZE, 3), np.uint8))
    return model
