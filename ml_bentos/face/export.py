"""A taught network as an ONNX file: the published graph, with the tensors of ours in place of its own.

So the file runs wherever the published one does, under the same names, and no exporter has a say in how the graph looks. The
weights are float32: quantising them anew would cost accuracy that nobody has measured.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from ml_bentos.face.backends import OnnxBackend, float_graph
from ml_bentos.face.network import SFace, tensor_names
from ml_bentos.face.vectors import normalise


def exported(published: bytes, network: SFace) -> bytes:
    """ONNX float32 of `network`, on the graph of the file `published`; the same weights give the same bytes.

    Raises ValueError where the file is not SFace's.
    """
    model = float_graph(published)
    state = network.state_dict()
    ours = {theirs: state[name].detach().cpu().numpy() for name, theirs in tensor_names(network).items()}
    missing = ours.keys() - {tensor.name for tensor in model.graph.initializer}
    if missing:
        raise ValueError(f"the ONNX file is not SFace: it has no {sorted(missing)[0]}")
    for tensor in model.graph.initializer:
        if tensor.name in ours:
            values = np.ascontiguousarray(ours[tensor.name].reshape(tuple(tensor.dims)), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def difference(embedder: bytes, network: SFace, rgb: NDArray[np.float32]) -> float:
    """How far the ONNX file is from `network` on crops float32[n, 3, 112, 112] RGB 0..255, n > 0.

    The largest difference of any component of vectors of length 1.
    """
    with torch.inference_mode():
        taught = network.eval()(torch.from_numpy(rgb).to(next(network.parameters()).device)).cpu().numpy()
    return float(np.abs(normalise(taught) - normalise(OnnxBackend(embedder)(rgb))).max())
