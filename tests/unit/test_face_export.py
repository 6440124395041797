"""A taught network is served as it was taught: cut and put together, as ONNX, as a package, as a signed archive."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ml_bentos import archives, registry
from ml_bentos.face import export, network, package, weights
from ml_bentos.face.backends import Backend, OnnxBackend, TorchBackend
from ml_bentos.face.images import decode_image
from ml_bentos.face.model import VIEWS, load_model, network_input, unload
from ml_bentos.face.network import SFace
from ml_bentos.face.population import Population, load_metadata
from ml_bentos.face.vectors import normalise
from ml_bentos.registry import RegistryError

DATASET = {"name": "members-1", "digest": "ab" * 32, "photos": 40}
METRICS = {"verification": {"accuracy_10_fold": 0.998}}


@pytest.fixture(scope="module")
def published() -> bytes:
    shipped = weights.weight_set()
    return weights.read(shipped, shipped.embedder)


@pytest.fixture(scope="module")
def taught(published: bytes) -> SFace:
    """A network whose upper part is no longer the published one."""
    before = network.from_onnx(published)
    _, upper = network.halves(before)
    torch.manual_seed(1)
    with torch.no_grad():
        for value in upper.parameters():
            value += 0.1 * value.std() * torch.randn_like(value)
    return network.whole(before, upper)


@pytest.fixture(scope="module")
def embedder(published: bytes, taught: SFace) -> bytes:
    return export.exported(published, taught)


@pytest.fixture(scope="module")
def crops(lfw: Path) -> np.ndarray:
    """float32[16, 3, 112, 112]: four people in all views."""
    model = load_model()
    found = []
    for folder in sorted(lfw.iterdir())[:4]:
        bgr = decode_image(min(folder.glob("*.jpg")).read_bytes())
        found += [model.crop(bgr, model.detect(bgr)[0], view) for view in VIEWS]
    return network_input(np.stack(found))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(registry.VARIABLE, str(folder))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    return folder


def document(embedder: bytes) -> tuple[str, dict[str, Any]]:
    """A version and what is measured of it."""
    stored = load_metadata(weights.DEFAULT)
    measured = {"population": stored["population"], "thresholds": stored["thresholds"]}
    version = package.version_name(embedder, measured)
    measured["thresholds"] = {**stored["thresholds"], "model_version": version}
    return version, {**measured, "metrics": METRICS, "measured_on": {"people": 10}, "dataset": DATASET}


def vectors(network: SFace, crops: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return normalise(network(torch.from_numpy(crops)).numpy())


def test_the_halves_are_the_network(published: bytes, crops: np.ndarray) -> None:
    whole = network.from_onnx(published)
    lower, upper = network.halves(whole)
    kept = network.activations(lower, crops)
    assert kept.shape == (len(crops), *network.CUT_SHAPE)
    with torch.inference_mode():
        again = normalise(upper(torch.from_numpy(kept.astype(np.float32))).numpy())
    assert np.sum(again * vectors(whole, crops), 1).min() > 0.99999


def test_put_together_only_the_upper_part_is_another(published: bytes, taught: SFace) -> None:
    before, after = network.from_onnx(published).state_dict(), taught.state_dict()
    upper = {name for name in before if not torch.equal(before[name], after[name])}
    assert upper
    assert all(name.startswith(("body.conv_13.", "body.conv_14", "bn1", "pre_fc1", "fc1")) for name in upper)


@pytest.mark.parametrize(
    "load",
    [OnnxBackend, lambda data: OnnxBackend(data, dequantise=False), TorchBackend],
    ids=["onnxruntime", "onnxruntime-as-it-is", "torch"],
)
def test_what_serves_is_what_was_taught(taught: SFace, embedder: bytes, crops: np.ndarray, load: Any) -> None:
    backend: Backend = load(embedder)
    served, wanted = normalise(backend(crops)), vectors(taught, crops)
    assert np.sum(served * wanted, 1).min() > 0.9999
    assert np.abs(served - wanted).max() < 1e-4
    assert np.abs(wanted - normalise(TorchBackend(weights.read(weights.SFACE_2021DEC, weights.SFACE_2021DEC.embedder))(crops))).max() > 1e-2  # fmt: skip


def test_the_difference_is_told(published: bytes, taught: SFace, embedder: bytes, crops: np.ndarray) -> None:
    assert export.difference(embedder, taught, crops) < 1e-4
    assert export.difference(published, taught, crops) > 1e-2


def test_the_same_weights_are_the_same_file(published: bytes, taught: SFace, embedder: bytes) -> None:
    assert export.exported(published, taught) == embedder
    # A file that was exported can be exported on, and is read as what it was made of.
    assert export.exported(embedder, taught) == embedder
    read = network.from_onnx(embedder).state_dict()
    assert all(torch.equal(read[name], value) for name, value in taught.state_dict().items())


@pytest.mark.parametrize("data", [b"", b"no ONNX at all"])
def test_what_is_not_sface_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not SFace"):
        network.from_onnx(data)


def test_a_package_serves_and_tells_what_it_learnt_from(embedder: bytes, models: Path) -> None:
    version, measured = document(embedder)
    assert package.pack_taught(version, embedder, measured) == f"{package.NAME}:{version}"
    told = package.metadata_of(version)
    assert told["dataset"] == DATASET
    assert told["metrics"] == METRICS
    assert registry.get(package.NAME, version)[1] == json.loads(json.dumps(told))
    folder, thresholds = package.unpack(version)
    assert thresholds.model_version == version
    assert (folder / weights.weight_set(version).embedder.name).read_bytes() == embedder
    try:
        assert load_model(version).version == version
    finally:
        unload(version)
    assert np.array_equal(Population.for_version(version).mean, Population.for_version(weights.DEFAULT).mean)


def test_a_version_packed_twice_is_one(embedder: bytes, models: Path) -> None:
    version, measured = document(embedder)
    first = package.pack_taught(version, embedder, measured)
    later = {**measured, "metrics": {"milliseconds": 20.0}}
    assert package.pack_taught(version, embedder, later) == first
    assert registry.versions(package.NAME) == [version]
    assert package.metadata_of(version)["metrics"] == METRICS


def test_a_name_stands_for_one_model(published: bytes, embedder: bytes, models: Path) -> None:
    version, measured = document(embedder)
    package.pack_taught(version, embedder, measured)
    with pytest.raises(RegistryError, match="another model"):
        package.pack_taught(version, published, measured)
    stricter = {**measured, "thresholds": {**measured["thresholds"], "margin": 0.5}}
    with pytest.raises(RegistryError, match="another model"):
        package.pack_taught(version, embedder, stricter)
    assert package.version_name(embedder, stricter) != version
    assert package.version_name(published, measured) != version
    assert package.version_name(embedder, measured) == version


def test_a_package_that_would_not_serve_is_not_stored(embedder: bytes, models: Path) -> None:
    version, measured = document(embedder)
    with pytest.raises(ValueError, match="not SFace"):
        package.pack_taught(version, embedder[:1000], measured)
    with pytest.raises(ValueError, match="thresholds are those of"):
        package.pack_taught("sface-other", embedder, measured)
    with pytest.raises(ValueError, match="population"):
        package.pack_taught(version, embedder, {k: v for k, v in measured.items() if k != "population"})
    assert registry.versions(package.NAME) == []


def test_a_package_travels_as_a_signed_archive(
    embedder: bytes, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, measured = document(embedder)
    package.pack_taught(version, embedder, measured)
    key = Ed25519PrivateKey.generate()
    archive = archives.pack(package.NAME, version, key)
    told = package.metadata_of(version)
    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv(registry.VARIABLE, str(gate))
    assert archives.install(archive, [key.public_key()]) == (package.NAME, version)
    assert package.metadata_of(version) == told
    there = weights.weight_set(version)
    assert hashlib.sha256(weights.read(there, there.embedder)).hexdigest() == told["files"][there.embedder.name]
    assert not (gate / "bentoml").exists()
