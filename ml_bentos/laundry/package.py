"""A version of the judge in the BentoML store: network and heads as files, figures and data set in the metadata.

    <store>/smartfit-laundry/<version>/  backbone.onnx  heads.npz  heads.json  report.json

The files are named by their SHA-256 in the metadata and checked when they are read. The version is made of the data set and
the head themselves, so that the same data taught twice give one version and not two.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml_bentos import registry
from ml_bentos.laundry import preprocessing
from ml_bentos.laundry.backbone import DIM, LICENCE, WEIGHTS_SHA256, Backbone, BackboneError
from ml_bentos.laundry.head import Head
from ml_bentos.laundry.model import LaundryModel

NAME = "smartfit-laundry"
KIND = "laundry"

_BACKBONE, _ARRAYS, _NUMBERS, _REPORT = "backbone.onnx", "heads.npz", "heads.json", "report.json"
SERVED = (_BACKBONE, _ARRAYS, _NUMBERS)
"""The files that a verdict is made of."""


class PackageError(RuntimeError):
    """A package is damaged or not one of ours."""


def pack(
    backbone: bytes,
    heads: Mapping[str, Head],
    dataset: Mapping[str, Any],
    metrics: Mapping[str, float],
    report: Any,
    top_taught: bool = False,
) -> str:
    """Store a version and return its name; where the same is there already, nothing is written.

    Args:
        backbone: ONNX, as `backbone.export` makes it, or with its top taught anew (`tuning`).
        dataset: its `digest` and whatever else tells of it.
        metrics: numbers by name, for comparing versions.
        report: further figures (curves), JSON.
        top_taught: whether the top of the network is no longer that of ImageNet.

    Raises:
        RegistryError: the store cannot be written, or SMARTFIT_MODELS_DIR is not set.
    """
    if registry.models_dir() is None:
        raise registry.RegistryError(f"{registry.VARIABLE} is not set: where shall the model lie?")
    files = _files(backbone, heads, report)
    learnt = hashlib.sha256(files[_ARRAYS] + files[_NUMBERS] + files[_BACKBONE]).hexdigest()
    version = f"lite0-{dataset['digest'][:8]}-{learnt[:6]}"
    if version in versions():
        return version
    metadata = {
        "version": version,
        "kinds": sorted(heads),
        "features": {
            "network": "efficientnet-lite0",
            "weights_sha256": WEIGHTS_SHA256,
            # Heads mean nothing on other features: which network they stand on, and whether its top was taught anew.
            "onnx_sha256": hashlib.sha256(backbone).hexdigest(),
            "top_taught": top_taught,
            "dim": DIM,
            "input": f"RGB letterboxed to {preprocessing.SIZE}, (x - {preprocessing.MEAN:g}) / {preprocessing.SCALE:g}",
            "vector": "mean over the last feature map, L2-normalised",
        },
        "dataset": dict(dataset),
        "metrics": dict(metrics),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "licences": LICENCE,
    }

    def fill(folder: Path) -> None:
        for name, data in files.items():
            (folder / name).write_bytes(data)

    registry.create(NAME, version, metadata, fill)
    return version


def versions() -> list[str]:
    """The versions in the store, in no particular order."""
    if registry.models_dir() is None:
        return []
    return registry.versions(NAME)


def describe(version: str) -> dict[str, Any]:
    """The metadata of a version. Raises RegistryError where there is none, PackageError where it is not one of ours."""
    _, metadata = registry.get(NAME, version)
    if not isinstance(metadata.get("metrics"), dict) or not isinstance(metadata.get("files"), dict):
        raise PackageError(f"{NAME}:{version} is not a package of the photo judge")
    return metadata


def load(version: str) -> LaundryModel:
    """The model of a version, its files checked, warmed up.

    Raises:
        RegistryError: there is no such version.
        PackageError: a file is missing, damaged, or does not hold what it should.
    """
    folder, _ = registry.get(NAME, version)
    expected = describe(version)["files"]
    read = {name: _checked(folder / name, expected.get(name)) for name in SERVED}
    try:
        model = LaundryModel(version, Backbone(read[_BACKBONE]), heads_of(read[_ARRAYS], read[_NUMBERS]))
        model.warm_up()
    except (BackboneError, ValueError, KeyError, TypeError, OSError) as error:
        raise PackageError(f"{NAME}:{version} does not hold a model: {error}") from error
    return model


def _files(backbone: bytes, heads: Mapping[str, Head], report: Any) -> dict[str, bytes]:
    return {_BACKBONE: backbone, **head_files(heads), _REPORT: json.dumps(report, indent=1).encode()}


def head_files(heads: Mapping[str, Head]) -> dict[str, bytes]:
    """Heads as heads.npz and heads.json; the same heads give the same bytes."""
    arrays: dict[str, Any] = {}
    for _, head in sorted(heads.items()):
        arrays |= head.arrays()
    written = io.BytesIO()
    np.savez(written, **arrays)
    numbers = {kind: head.numbers() for kind, head in sorted(heads.items())}
    return {_ARRAYS: written.getvalue(), _NUMBERS: json.dumps(numbers, indent=1, sort_keys=True).encode()}


def heads_of(npz: bytes, document: bytes) -> dict[str, Head]:
    """The heads of such files. Raises ValueError, KeyError, TypeError or OSError where they hold none."""
    numbers = json.loads(document)
    with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
        return {kind: Head.read(kind, numbers[kind], arrays) for kind in numbers}


def _checked(path: Path, expected: Any) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PackageError(f"cannot read {path.name}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise PackageError(f"{path.name} of the package is damaged: it is not what was packed")
    return data
