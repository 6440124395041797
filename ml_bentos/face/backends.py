"""Ways to run the embedder, behind one call: pixels in, embeddings out.

The same weights run at different speeds under different engines, and which is fastest depends on the machine; so they
are interchangeable here and measured by `python -m tests.benchmarks.gate.backends`. One view on one core of an EPYC with
AVX-512: PyTorch with the batch normalisations folded into the convolutions and channels last 19 ms, and in bfloat16, where
the processor multiplies it, 14 ms at a worst cosine of 0.9999 with float32; onnxruntime in float32 26 ms (it lacks a
blocked PReLU and reorders the data around each), on the file as published 42 ms (it dequantises the weights at every run),
statically quantised to int8 25 ms at a worst cosine of 0.95; compiled by TorchInductor 19 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from ml_bentos.face.alignment import Float32
from ml_bentos.face.network import dequantised, folded, from_onnx


class Backend(Protocol):
    """A loaded embedder. One call uses one core; callable from several threads at once."""

    name: str

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        """float32[n, 3, 112, 112] RGB 0..255 -> float32[n, 128], not normalised."""
        ...


class TorchBackend:
    """PyTorch: eager or compiled (TorchInductor; wants a C++ compiler), float32 or bfloat16, folded or as published."""

    def __init__(
        self,
        data: bytes,
        dtype: torch.dtype = torch.float32,
        fold: bool = True,
        channels_last: bool = True,
        compiled: bool = False,
    ) -> None:
        parts = ["torch", str(dtype).removeprefix("torch.")]
        parts += [name for name, on in (("folded", fold), ("nhwc", channels_last), ("compiled", compiled)) if on]
        self.name = "-".join(parts)
        torch.set_num_threads(1)
        self._dtype = dtype
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        network = folded(from_onnx(data)) if fold else from_onnx(data)
        network.body.to(dtype=dtype, memory_format=self._format)  # type: ignore[call-overload]
        network.requires_grad_(False)
        # The last layers stay in float32: they are small, and the sum over 50,176 products is where rounding would tell.
        body: nn.Module = network.body
        self._body: Callable[[Tensor], Tensor] = torch.compile(body, dynamic=False) if compiled else body
        self._network = network

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        with torch.inference_mode():
            batch = ((torch.from_numpy(rgb) - 127.5) * 0.0078125).to(self._dtype, memory_format=self._format)
            return np.asarray(self._network.head(self._body(batch).float()).numpy(), np.float32)


class OnnxBackend:
    """onnxruntime in float32 on the published graph, its weights dequantised once (or, as published, at every run)."""

    def __init__(self, data: bytes, dequantise: bool = True) -> None:
        self.name = "onnxruntime-" + ("float32" if dequantise else "as-published")
        self._session = session(float_graph(data) if dequantise else plain_graph(data))

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        return np.asarray(self._session.run(None, {"data": rgb})[0], np.float32)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A quiet onnxruntime session of one thread a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def plain_graph(data: bytes) -> onnx.ModelProto:
    """The published graph, made loadable, for any batch size."""
    model = onnx.load_from_string(data)
    # The file lists its weights as inputs too (as IR version 3 did); they are not.
    del model.graph.input[1:]
    del model.graph.value_info[:]
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def float_graph(data: bytes) -> onnx.ModelProto:
    """The published graph with float32 weights in place of the quantised ones."""
    model = plain_graph(data)
    graph, tensors = model.graph, dequantised(model)
    names: dict[str, str] = {}
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        names[node.output[0]] = node.input[0].removesuffix("_quantized")
        graph.node.remove(node)
    for node in [n for n in graph.node if n.op_type == "Reshape" and n.input[0] in names]:
        names[node.output[0]] = names[node.input[0]]
        graph.node.remove(node)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
    used = {name for node in graph.node for name in node.input} & tensors.keys()
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(tensors[name].numpy(), name) for name in sorted(used))
    return model


def bfloat16_is_native() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512_BF16 or AMX); elsewhere it is emulated and slow."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))


def fastest(data: bytes) -> Backend:
    """The backend that the benchmark found fastest without loss of accuracy on this kind of processor."""
    return TorchBackend(data, torch.bfloat16 if bfloat16_is_native() else torch.float32)
