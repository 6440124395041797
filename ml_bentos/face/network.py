"""SFace as a PyTorch module, filled from the tensors of the published ONNX file.

SFace (Zhong et al. 2021, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition"), here on a
MobileNet-v1-like body. As a module of our own it can be trained further, compiled and exported; the ONNX file holds the
convolutions block-quantised (int8 with a scale for each block), which `dequantised` undoes.
"""

from __future__ import annotations

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ml_bentos.face.vectors import EMBEDDING_DIM

_WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDE_2 = frozenset({3, 5, 7, 13})


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


def from_onnx(data: bytes) -> SFace:
    """The network in eval mode with the weights of the ONNX file's bytes. Raises ValueError if they do not fit."""
    tensors = dequantised(onnx.load_from_string(data))
    network = SFace()
    state: dict[str, Tensor] = {}

    def batch_norm(target: str, source: str) -> None:
        for ours, theirs in (
            ("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_var")
        ):  # fmt: skip
            state[f"{target}.{ours}"] = tensors[f"{source}_{theirs}"].flatten()
        state[f"{target}.num_batches_tracked"] = torch.tensor(0)

    try:
        for name, _ in network.body.named_children():
            state[f"body.{name}.0.weight"] = tensors[f"{name}_conv2d_weight"]
            batch_norm(f"body.{name}.1", f"{name}_batchnorm")
            state[f"body.{name}.2.weight"] = tensors[f"{name}_relu_gamma"].flatten()
        batch_norm("bn1", "bn1")
        batch_norm("fc1", "fc1")
        state["pre_fc1.weight"] = tensors["pre_fc1_weight"]
        state["pre_fc1.bias"] = tensors["pre_fc1_bias"].flatten()
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"the ONNX file is not SFace: {error}") from error
    return network.eval()
