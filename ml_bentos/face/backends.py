"""Ways to run the embedder, behind one call: uint8 crops in, embeddings out.

The same weights run at different speeds under different engines; which is fastest depends on the machine, so they are
interchangeable here and measured by `python -m tests.benchmarks.gate.backends`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from ml_bentos.face.alignment import Float32
from ml_bentos.face.network import SFace, from_onnx

THREADS = 2


class Backend(Protocol):
    """A loaded embedder. Callable from several threads at once."""

    name: str

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        """float32[n, 3, 112, 112] RGB 0..255 -> float32[n, 128], not normalised."""
        ...


class TorchBackend:
    """PyTorch, eager or compiled (TorchInductor), optionally channels-last."""

    def __init__(self, data: bytes, compiled: bool = False, channels_last: bool = False) -> None:
        self.name = "torch" + ("-compiled" if compiled else "-eager") + ("-channels-last" if channels_last else "")
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        network: SFace = from_onnx(data).to(memory_format=self._format)  # type: ignore[call-overload]
        self._network = torch.compile(network) if compiled else network

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        with torch.inference_mode():
            batch = torch.from_numpy(rgb).contiguous(memory_format=self._format)
            return np.asarray(self._network(batch).numpy(), np.float32)


class OnnxBackend:
    """onnxruntime on the published graph."""

    def __init__(self, data: bytes, threads: int = THREADS) -> None:
        self.name = "onnxruntime"
        model = onnx.load_from_string(data)
        # The file lists its weights as inputs too (IR 3 style); onnxruntime then takes them for changeable and fuses nothing.
        del model.graph.input[1:]
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, rgb: NDArray[np.float32]) -> Float32:
        return np.asarray(self._session.run(None, {"data": rgb})[0], np.float32)
