"""Passive liveness: one frame, no cooperation. The mean of two MiniFASNets over crops of two sizes.

Why optional: its weights are not ours to ship. The gate asks `load` at start and says plainly when they are missing
(`policy.describe`). A score is a probability only in name: thresholds belong to the camera and are set in `policy`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ml_bentos.face.liveness.crop import Bgr, crop
from ml_bentos.face.liveness.networks import INPUT_SIZE, REAL_CLASS, Architecture, MiniFASNet
from ml_bentos.face.liveness.weights import WeightsError, add_weights, load_networks

__all__ = ["HasBox", "PassiveLiveness", "WeightsError", "add_weights", "load"]


class HasBox(Protocol):
    """What is needed of a detected face."""

    @property
    def box(self) -> NDArray[np.float32]:
        """float32 [4]: x, y, width, height, px of the frame."""


class PassiveLiveness:
    """Both networks, compiled. One object serves all threads: a call shares nothing it writes."""

    def __init__(self, networks: list[tuple[Architecture, MiniFASNet]]) -> None:
        self._networks = [(architecture.crop_scale, _compile(network)) for architecture, network in networks]

    def score(self, bgr: Bgr, face: HasBox) -> float:
        """Probability 0..1 that `face` in the frame `bgr` (uint8 [h,w,3], original and uncropped) is real.

        Raises ValueError when the frame or the box is empty.
        """
        if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
            raise ValueError("a frame is uint8 [height,width,3] BGR")
        total = np.zeros(1)
        for scale, network in self._networks:
            pixels = torch.from_numpy(crop(bgr, face.box, scale, INPUT_SIZE)[None])
            with torch.inference_mode():
                # [1,h,w,c] seen as [1,c,h,w] is channels-last already, the layout the networks are compiled for
                logits = network(pixels.permute(0, 3, 1, 2).float())
                total += torch.softmax(logits, 1)[:, REAL_CLASS].numpy()
        return float(total[0] / len(self._networks))


def load(models_dir: Path | str | os.PathLike[str]) -> PassiveLiveness | None:
    """The installed networks, warmed up; None when no weights were added to `models_dir`.

    Raises WeightsError when installed weights are damaged.
    """
    networks = load_networks(Path(models_dir))
    return None if networks is None else PassiveLiveness(networks)


def _compile(network: MiniFASNet) -> Callable[[torch.Tensor], torch.Tensor]:
    """Traces and freezes (folds the batch norms), channels-last: 2.3 ms instead of 5.4 ms a call on one core."""
    example = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE).to(memory_format=torch.channels_last)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        frozen: Callable[[torch.Tensor], torch.Tensor] = torch.jit.freeze(traced)
        for _ in range(3):  # the first calls specialise the graph
            frozen(example)
    return frozen
