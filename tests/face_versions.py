"""Further versions of the face model, for tests: as good as the shipped one, under which its vectors mean nothing.

The last layer's outputs change places and signs at random, and the population's mean and covariance with them: every score
within a version stays what it is, and between two versions nothing is alike any more.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import numpy_helper

from ml_bentos import archives, registry
from ml_bentos.face import weights
from ml_bentos.face.package import metadata_of
from ml_bentos.face.population import Population, load_metadata


def turned(vectors: np.ndarray, version: str) -> np.ndarray:
    """Vectors float32[..., 128] of the shipped version, as this version makes them of the same faces."""
    order, signs = _pattern(version)
    return np.asarray(vectors[..., order] * signs, np.float32)


def _pattern(version: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(version.encode()).digest()[:8], "big"))
    # Within each half: the file holds the biases quantised in blocks of 64.
    order = np.concatenate([random.permutation(64), 64 + random.permutation(64)])
    return order, np.where(random.random(128) < 0.5, -1.0, 1.0).astype(np.float32)


def thresholds(version: str) -> dict[str, Any]:
    """The thresholds of a version."""
    return {**load_metadata(weights.DEFAULT)["thresholds"], "model_version": version}


def stored(models_dir: Path, version: str, **metadata: Any) -> Path:
    """A package of that version, as if installed in a folder of models; returns its folder."""
    shipped = weights.weight_set()
    folder = models_dir / "packages" / weights.NAME / version
    folder.mkdir(parents=True)
    detector, embedder = (
        weights.read(shipped, shipped.detector),
        _turned(weights.read(shipped, shipped.embedder), version),
    )
    (folder / "detector.onnx").write_bytes(detector)
    (folder / "embedder.onnx").write_bytes(embedder)
    (folder / "metadata.json").write_text(json.dumps(_measured(version)))
    told = metadata_of(weights.DEFAULT) | {
        "version": version,
        "thresholds": thresholds(version),
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("detector.onnx", "embedder.onnx")},
        "roles": {"detector": "detector.onnx", "embedder": "embedder.onnx"},
        **metadata,
    }  # fmt: skip
    (folder / registry.MANIFEST).write_text(json.dumps({"metadata": told}))
    return folder


def packed(folder: Path, version: str, key: Ed25519PrivateKey, **metadata: Any) -> bytes:
    """The signed archive of that version; `folder` is where it is made."""
    stored(folder, version, **metadata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(registry.VARIABLE, str(folder))
        return archives.pack(weights.NAME, version, key)


def keys_file(path: Path, *keys: Ed25519PrivateKey) -> Path:
    """A file that names these keys as trusted."""
    raw = [base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in keys]
    path.write_text(json.dumps(raw))
    return path


def _turned(data: bytes, version: str) -> bytes:
    order, signs = _pattern(version)
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if not tensor.name.startswith(("fc1_", "pre_fc1_")) or len(values) != len(order):
            continue
        values = values[order]
        if tensor.name in ("fc1_gamma", "fc1_beta"):
            values = values * signs
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return bytes(model.SerializeToString())


def _measured(version: str) -> dict[str, Any]:
    document = load_metadata(weights.DEFAULT)
    shipped = Population.from_dict(document["population"])
    covariance = turned(turned(shipped.covariance, version).T, version).T
    population = Population(turned(shipped.mean, version), covariance, shipped.spread)
    return {**document, "thresholds": thresholds(version), "population": population.to_dict()}
