"""The network of the features in PyTorch, cut in two: what is never taught anew, and the top that may be.

Torch for training, ONNX for serving. What lies below the cut gives the same numbers for a photo for ever, so that they are
worked out once for each view of it and kept; teaching the top is then a matter of minutes on two cores.
"""

import contextlib
import functools
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ml_bentos.laundry.backbone import BackboneError, checked_weights
from ml_bentos.laundry.preprocessing import SIZE

CUT = 12
"""Blocks 0 to 11 are frozen; 12 to 15 and the last convolution may be taught. float[192, 7, 7] passes between them."""
CUT_SHAPE = (192, 7, 7)
_OPSET = 17


def pretrained() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, for inference. Raises BackboneError: see `backbone.export`."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise BackboneError(f"{error.name} is not installed: pip install 'smart-fitness[ml]'") from error
    path: Path = checked_weights()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()


class Lower(nn.Module):
    """photo float[n, 3, 224, 224] -> float[n, 192, 7, 7] at the cut."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        part: Any = network
        self.stem = nn.Sequential(part._conv_stem, part._bn0, part._swish)
        self.blocks = nn.Sequential(*part._blocks[:CUT])

    def forward(self, photo: Tensor) -> Tensor:
        return self.blocks(self.stem(photo))


class Upper(nn.Module):
    """float[n, 192, 7, 7] at the cut -> features float[n, 1280], not yet of length 1.

    Its batch norms keep the means and variances of ImageNet: those of a few hundred photos would be worse ones.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        part: Any = network
        self.blocks = nn.Sequential(*part._blocks[CUT:])
        self.last = nn.Sequential(part._conv_head, part._bn1, part._swish)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(x)).mean((2, 3))

    def train(self, mode: bool = True) -> "Upper":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


class Whole(nn.Module):
    """photo float[n, 3, 224, 224] -> features float[n, 1280]."""

    def __init__(self, lower: Lower, upper: Upper) -> None:
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, photo: Tensor) -> Tensor:
        return self.upper(self.lower(photo))


def halves() -> tuple[Lower, Upper]:
    """Both parts with their ImageNet weights. Raises BackboneError."""
    network = pretrained()
    return Lower(network).eval(), Upper(network).eval()


@functools.cache
def lower_onnx() -> bytes:
    """The frozen part as ONNX: a third of PyTorch's time a photo on a CPU. Raises BackboneError."""
    return to_onnx(halves()[0])


def to_onnx(whole: nn.Module) -> bytes:
    """ONNX: `photo` float32[1, 3, 224, 224] -> `features`, of the shape that the module gives."""
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter by tracing: the newer one wants onnxscript, and this network has no branches.
        torch.onnx.export(
            whole.eval(),
            (torch.zeros(1, 3, SIZE, SIZE),),
            written,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=_OPSET,
            input_names=["photo"],
            output_names=["features"],
        )
    return written.getvalue()
