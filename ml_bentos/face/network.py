"""SFace as a PyTorch module, filled from the tensors of the published ONNX file.

SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition"), here on a
MobileNet-v1-like body. As a module of our own it can be trained further, compiled and exported; the ONNX file holds the
convolutions block-quantised (int8 with a scale for each block), which `dequantised` undoes.

For teaching, the network is cut in two (`halves`): what lies below the cut is never taught anew, so it gives the same numbers
for a crop for ever, under every version; they are worked out once, and teaching the upper part is a matter of minutes on two
cores.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml_bentos.face.vectors import EMBEDDING_DIM

_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDE_2 = frozenset({3, 5, 7, 13})
CUT = "conv_13_dw"
"""The last unit of the frozen part. Above it: conv_13, conv_14_dw, conv_14 and the head, 8.0 of 9.9 million weights."""
CUT_SHAPE = (512, 7, 7)


class _Unit(nn.Sequential):
    """Convolution without bias, batch normalisation, PReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.PReLU(outputs),
        )


class SFace(nn.Module):
    """float32[n, 3, 112, 112], RGB 0..255 -> float32[n, 128], not normalised."""

    def __init__(self) -> None:
        super().__init__()
        units: dict[str, nn.Module] = {"conv_1": _Unit(3, 32, 3)}
        inputs = 32
        for index, outputs in enumerate(_WIDTHS, start=2):
            stride = 2 if index in _STRIDE_2 else 1
            units[f"conv_{index}_dw"] = _Unit(inputs, inputs, 3, stride, groups=inputs)
            units[f"conv_{index}"] = _Unit(inputs, outputs, 1)
            inputs = outputs
        self.body = nn.Sequential()
        for name, unit in units.items():
            self.body.add_module(name, unit)
        self.bn1 = nn.BatchNorm2d(inputs, eps=2e-5)
        self.dropout = nn.Dropout(0.5)
        self.pre_fc1 = nn.Linear(inputs * 7 * 7, EMBEDDING_DIM)
        self.fc1 = nn.BatchNorm1d(EMBEDDING_DIM, eps=2e-5)

    def forward(self, rgb: Tensor) -> Tensor:
        return self.head(self.body((rgb - 127.5) * 0.0078125))

    def head(self, features: Tensor) -> Tensor:
        """float32[n, 1024, 7, 7], what the body makes of a crop -> float32[n, 128]."""
        out: Tensor = self.fc1(self.pre_fc1(self.dropout(self.bn1(features)).flatten(1)))
        return out


def folded(network: SFace) -> SFace:
    """The network with each batch normalisation of the body folded into its convolution (same outputs up to rounding)."""
    for unit in network.body:
        assert isinstance(unit, nn.Sequential)
        convolution, normalisation = unit[0], unit[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(normalisation, nn.BatchNorm2d)
        unit[0], unit[1] = fuse_conv_bn_eval(convolution, normalisation), nn.Identity()
    return network


class Lower(nn.Module):
    """float32[n, 3, 112, 112], RGB 0..255 -> float32[n, 512, 7, 7] at the cut. For inference: see `folded`."""

    def __init__(self, network: SFace) -> None:
        super().__init__()
        self.body = nn.Sequential(_below(folded(copy.deepcopy(network))))
        # The depthwise convolutions are several times quicker so on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False).eval()

    def forward(self, rgb: Tensor) -> Tensor:
        out: Tensor = self.body((rgb - 127.5) * 0.0078125)
        return out


class Upper(nn.Module):
    """float32[n, 512, 7, 7] at the cut -> float32[n, 128], not normalised: a copy of that part of the network.

    Its batch normalisations keep their means and variances whatever it is taught: those of a few thousand crops would be
    worse ones than those of the millions that it has seen.
    """

    def __init__(self, network: SFace) -> None:
        super().__init__()
        network = copy.deepcopy(network)
        below = _below(network)
        self.body = nn.Sequential(
            OrderedDict((name, unit) for name, unit in network.body.named_children() if name not in below)
        )
        self.bn1, self.dropout, self.pre_fc1, self.fc1 = network.bn1, network.dropout, network.pre_fc1, network.fc1

    def forward(self, cut: Tensor) -> Tensor:
        out: Tensor = self.fc1(self.pre_fc1(self.dropout(self.bn1(self.body(cut))).flatten(1)))
        return out

    def train(self, mode: bool = True) -> Upper:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
        return self


def halves(network: SFace) -> tuple[Lower, Upper]:
    """Both parts, in eval mode; the network itself stays as it is."""
    return Lower(network), Upper(network).eval()


def whole(network: SFace, upper: Upper) -> SFace:
    """The network with `upper` in place of its own upper part: a copy in eval mode, on the CPU."""
    made = SFace()
    made.load_state_dict({**network.state_dict(), **upper.state_dict()})
    return made.eval()


def activations(lower: Lower, rgb: NDArray[np.float32], batch: int = 8) -> NDArray[np.float16]:
    """float16[n, 512, 7, 7], what the lower part makes of float32[n, 3, 112, 112] RGB 0..255.

    Half precision moves an embedding by less than 1e-6 of its length. Callable from several threads at once.
    """
    out = np.empty((len(rgb), *CUT_SHAPE), np.float16)
    place = next(lower.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(rgb), batch):
            rows = torch.from_numpy(np.ascontiguousarray(rgb[start : start + batch], np.float32)).to(place)
            cut = lower(rows.contiguous(memory_format=torch.channels_last))
            out[start : start + batch] = cut.half().cpu().numpy()
    return out


def _below(network: SFace) -> OrderedDict[str, nn.Module]:
    units = list(network.body.named_children())
    end = next(number for number, (name, _) in enumerate(units) if name == CUT)
    return OrderedDict(units[: end + 1])


def dequantised(model: onnx.ModelProto) -> dict[str, Tensor]:
    """The model's tensors as float32 by name, block-quantised ones restored: (q - zero_point) * scale.

    Scale and zero point hold for `block_size` neighbours along `axis`; the flattened result is reshaped to the tensor
    `<name>_shape`.
    """
    raw = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
    out = {name: t for name, t in raw.items() if t.dtype == torch.float32}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        attributes = {a.name: a.i for a in node.attribute}
        axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
        quantised, scale, zero = (raw[name].float() for name in node.input)
        if block:
            length = quantised.shape[axis]
            scale = scale.repeat_interleave(block, axis).narrow(axis, 0, length)
            zero = zero.repeat_interleave(block, axis).narrow(axis, 0, length)
        name = node.input[0].removesuffix("_quantized")
        out[name] = ((quantised - zero) * scale).reshape([int(n) for n in raw[f"{name}_shape"]])
    return out


def tensor_names(network: SFace) -> dict[str, str]:
    """Name in the ONNX file of each tensor of the network's state, by its name there (counters of batches have none)."""
    names = {"pre_fc1.weight": "pre_fc1_weight", "pre_fc1.bias": "pre_fc1_bias"}
    normalisations = {"bn1": "bn1", "fc1": "fc1"}
    for unit, _ in network.body.named_children():
        names[f"body.{unit}.0.weight"] = f"{unit}_conv2d_weight"
        names[f"body.{unit}.2.weight"] = f"{unit}_relu_gamma"
        normalisations[f"body.{unit}.1"] = f"{unit}_batchnorm"
    for ours, theirs in normalisations.items():
        names[f"{ours}.weight"] = f"{theirs}_gamma"
        names[f"{ours}.bias"] = f"{theirs}_beta"
        names[f"{ours}.running_mean"] = f"{theirs}_moving_mean"
        names[f"{ours}.running_var"] = f"{theirs}_moving_var"
    return names


def from_onnx(data: bytes) -> SFace:
    """The network in eval mode with the weights of the ONNX file's bytes. Raises ValueError if they do not fit."""
    network = SFace()
    state = network.state_dict()
    try:
        tensors = dequantised(onnx.load_from_string(data))
        for ours, theirs in tensor_names(network).items():
            state[ours] = tensors[theirs].reshape(state[ours].shape)
    except (DecodeError, KeyError, RuntimeError) as error:
        raise ValueError(f"the ONNX file is not SFace: {error}") from error
    network.load_state_dict(state)
    return network.eval()
