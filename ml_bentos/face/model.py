"""The face model: one object that finds, aligns and embeds, with a version that its vectors belong to.

Loaded once a process, under a lock; afterwards nothing in it changes, so any number of threads may call it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ml_bentos.cores import cores
from ml_bentos.face import weights as weights_module
from ml_bentos.face.alignment import TEMPLATE, Float32, Image, align
from ml_bentos.face.detector import Detector, Face, View
from ml_bentos.face.population import Population
from ml_bentos.face.vectors import EMBEDDING_DIM, normalise

if TYPE_CHECKING:
    from ml_bentos.face.backends import Backend

# One detection's landmarks are off by 2-3 px of a face 100 px wide, differently at every scale, and the embedding moves
# with them; so it is averaged over four views, two of them mirrored (the usual flip averaging), each with landmarks of its
# own and a little larger or smaller. At a face width of 70 px the detector's anchors agree best, so there their mean is
# taken. What that gains is told in tests/benchmarks/gate/derivation.py.
VIEWS = (
    View(160, 70.0, mirrored=False, mean=True, scale=0.94),
    View(160, 70.0, mirrored=True, mean=True, scale=1.06),
    View(180, 80.0, mirrored=False, mean=False, scale=1.06),
    View(224, 100.0, mirrored=True, mean=False, scale=0.94),
)


class FaceModel:
    """A detector and an embedder of one version.

    version: what every vector made by it must be labelled with. dim: length of a vector.
    """

    dim = EMBEDDING_DIM

    def __init__(self, version: str, detector: Detector, backend: Backend, mean: Float32 | None = None) -> None:
        """mean: float32[128], the population's mean embedding, taken off every vector (None while it is measured)."""
        self.version = version
        self.detector = detector
        self.backend = backend
        self._mean = np.zeros(self.dim, np.float32) if mean is None else mean
        # The views of a face run side by side, each on one core: with more threads for each layer, they would wait for one
        # another at every layer, for long when other processes want the cores.
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="embed")

    def detect(self, bgr: Image) -> list[Face]:
        """The faces of uint8[h, w, 3] BGR, biggest first; boxes and landmarks in px of that image."""
        return self.detector.detect(bgr)

    def embed(self, bgr: Image, face: Face) -> Float32:
        """float32[128], L2-normalised: the mean over VIEWS of the face, less the population's mean."""

        def vector(view: View) -> Float32:
            return normalise(self.backend(network_input(self.crop(bgr, face, view)[None]))[0])

        mean = normalise(np.asarray(np.sum(list(self._pool.map(vector, VIEWS)), axis=0), np.float32))
        return normalise(mean - self._mean)

    def crop(self, bgr: Image, face: Face, view: View = VIEWS[0]) -> Image:
        """See `aligned`."""
        return aligned(self.detector, bgr, face, view)


def aligned(detector: Detector, bgr: Image, face: Face, view: View) -> Image:
    """The aligned crop uint8[112, 112, 3] BGR of a face, as a view has it."""
    crop = align(bgr, detector.landmarks(bgr, face, view), view.scale)
    return crop[:, ::-1] if view.mirrored else crop


def network_input(crops: NDArray[np.uint8]) -> Float32:
    """uint8[n, 112, 112, 3] BGR -> float32[n, 3, 112, 112] RGB."""
    return np.ascontiguousarray(crops[..., ::-1].transpose(0, 3, 1, 2), np.float32)


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


def unload(version: str) -> None:
    """Let go of a loaded version; whoever still uses it may go on, and the next `load_model` reads it anew."""
    with _lock:
        _loaded.pop(version, None)


def assemble(weights: weights_module.WeightSet, mean: Float32 | None) -> FaceModel:
    """A new model from a set of weights, warmed up; `mean` as for FaceModel."""
    # Only here: most that handle faces handle templates, and need not wait a second for PyTorch.
    from ml_bentos.face import backends

    # OpenCV's own pool would compete for the same cores; YuNet is too small to gain by it.
    cv2.setNumThreads(1)
    detector = Detector(weights_module.read(weights, weights.detector))
    backend = backends.fastest(weights_module.read(weights, weights.embedder))
    model = FaceModel(weights.version, detector, backend, mean)
    blank = np.zeros((240, 320, 3), np.uint8)
    model.detect(blank)
    box = np.array([100, 60, 100, 120], np.float32)
    for _ in range(2):
        model.embed(blank, Face(box, TEMPLATE + box[:2], 1.0))
    return model
