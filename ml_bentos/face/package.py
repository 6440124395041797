"""Packing a face model version for the registry: weights, and beside them all that is needed to use them rightly.

The shipped version, or (`pack_taught`) one whose embedder was taught on people of the house.

    python -m ml_bentos.face.package [--version V]

The package's metadata holds the preprocessing, the thresholds and the measured figures, so that whoever serves the model
(the gate node, the BentoML service, the console) reads them from one place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from ml_bentos import registry
from ml_bentos.face import detector, weights
from ml_bentos.face.alignment import CROP_SIZE, TEMPLATE
from ml_bentos.face.model import VIEWS
from ml_bentos.face.population import Population, load_metadata
from ml_bentos.face.thresholds import Thresholds
from ml_bentos.face.vectors import EMBEDDING_DIM

NAME = weights.NAME
EMBEDDER = "face_recognition_sface_taught.onnx"
"""The file of an embedder that was taught here."""


def metadata_of(version: str) -> dict[str, Any]:
    """What the package says of itself: version, preprocessing, thresholds, metrics, data set, files with their SHA-256.

    Raises WeightsError, FileNotFoundError, or KeyError where what is stored is none of ours.
    """
    return _metadata(weights.weight_set(version), load_metadata(version))


def _metadata(files: weights.WeightSet, stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": files.version,
        "dim": EMBEDDING_DIM,
        "preprocessing": {
            "detector": {"score": detector.SCORE_THRESHOLD, "nms": detector.NMS_THRESHOLD, "colours": "BGR"},
            "views": [asdict(view) for view in VIEWS],
            "crop_px": CROP_SIZE,
            "template": TEMPLATE.tolist(),
            "input": "RGB 0..255 NCHW; (x - 127.5) * 0.0078125 inside the network",
            "vector": "sum over views of normalised outputs, normalised, less the population's mean, normalised",
        },
        "thresholds": stored["thresholds"],
        "metrics": stored.get("metrics", {}),
        "measured_on": stored.get("measured_on", {}),
        "dataset": stored.get("dataset", {}),
        "files": {f.name: f.sha256 for f in (files.detector, files.embedder)},
        "roles": {"detector": files.detector.name, "embedder": files.embedder.name},
        "licences": files.licences,
    }


def pack(version: str | None = None) -> str:
    """Store the version in the registry's BentoML store and return its tag. Raises RegistryError where it is there."""
    files = weights.weight_set(version)

    def fill(folder: Path) -> None:
        for file in (files.detector, files.embedder):
            (folder / file.name).write_bytes(weights.read(files, file))
        (folder / "metadata.json").write_text(json.dumps(load_metadata(files.version)), "utf-8")

    return registry.create(NAME, files.version, metadata_of(files.version), fill)


def version_name(embedder: bytes, document: Mapping[str, Any]) -> str:
    """The name of a taught version: sface- and twelve digits, made of all that its decisions are made of.

    Args:
        embedder: the ONNX file.
        document: thresholds and population as in `pack_taught`; the version that the thresholds name does not count.
    """
    digest = hashlib.sha256(hashlib.sha256(embedder).digest() + _canonical(_decisive(document)))
    return f"sface-{digest.hexdigest()[:12]}"


def pack_taught(version: str, embedder: bytes, document: Mapping[str, Any]) -> str:
    """Store a version whose embedder was taught here, beside the shipped detector, and return its tag.

    Where it is there already with the same embedder, thresholds and population, nothing is written: a run that was stopped
    after packing ends as one that was not, though it may have timed other figures.

    Args:
        version: see `version_name`.
        embedder: ONNX, see `export.exported`.
        document: JSON: `thresholds` (`Thresholds.to_dict`, of this version), `population` (`Population.to_dict`), `metrics`,
            `measured_on` and `dataset` (name, digest, photos).

    Raises:
        ValueError: the embedder is not SFace's, or the document does not hold thresholds and population of this version.
        RegistryError: SMARTFIT_MODELS_DIR is not set, the store cannot be written, or another version has that name.
    """
    if registry.models_dir() is None:
        raise registry.RegistryError(f"{registry.VARIABLE} is not set: where shall the model lie?")
    _check(version, embedder, document)
    shipped = weights.weight_set()
    file = weights.WeightFile(EMBEDDER, hashlib.sha256(embedder).hexdigest())
    files = replace(shipped, version=version, embedder=file, licences=f"{shipped.licences}, its upper part taught anew")
    if version in weights.KNOWN:
        raise registry.RegistryError(f"{version} is the name of a version that is shipped")
    if version in registry.versions(NAME):
        if weights.weight_set(version).embedder != file or _decisive(load_metadata(version)) != _decisive(document):
            raise registry.RegistryError(f"another model is stored as {NAME}:{version}")
        return f"{NAME}:{version}"

    def fill(folder: Path) -> None:
        (folder / shipped.detector.name).write_bytes(weights.read(shipped, shipped.detector))
        (folder / EMBEDDER).write_bytes(embedder)
        (folder / "metadata.json").write_text(json.dumps({"version": version, **document}), "utf-8")

    return registry.create(NAME, version, _metadata(files, document), fill)


def _check(version: str, embedder: bytes, document: Mapping[str, Any]) -> None:
    from ml_bentos.face.network import from_onnx  # PyTorch: not for those who only read

    from_onnx(embedder)
    try:
        named = Thresholds.from_dict(document["thresholds"]).model_version
        Population.from_dict(document["population"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the document of {version} lacks {error}") from error
    if named != version:
        raise ValueError(f"the thresholds are those of {named}, not of {version}")


def _decisive(document: Mapping[str, Any]) -> dict[str, Any]:
    thresholds = {name: value for name, value in document["thresholds"].items() if name != "model_version"}
    return {"thresholds": thresholds, "population": document["population"]}


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def unpack(version: str | None = None) -> tuple[Path, Thresholds]:
    """The folder of a stored version, its files checked, and its thresholds. Raises RegistryError, WeightsError."""
    files = weights.weight_set(version)
    folder, metadata = registry.get(NAME, files.version)
    for file in (files.detector, files.embedder):
        if hashlib.sha256((folder / file.name).read_bytes()).hexdigest() != file.sha256:
            raise weights.WeightsError(f"{file.name} in the package {NAME}:{files.version} is damaged")
    return folder, Thresholds.from_dict(metadata["thresholds"])


@click.command()
@click.option("--version", default=weights.DEFAULT, show_default=True)
def main(version: str) -> None:
    """Store a face model version in the registry."""
    click.echo(pack(version))


if __name__ == "__main__":
    main()
