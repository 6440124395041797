"""Packing a face model version for the registry: weights, and beside them all that is needed to use them rightly.

    python -m ml_bentos.face.package [--version V]

The package's metadata holds the preprocessing, the thresholds and the measured figures, so that whoever serves the model
(the gate node, the BentoML service, the console) reads them from one place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ml_bentos import registry
from ml_bentos.face import detector, weights
from ml_bentos.face.alignment import CROP_SIZE, TEMPLATE
from ml_bentos.face.model import VIEWS
from ml_bentos.face.population import load_metadata
from ml_bentos.face.thresholds import Thresholds
from ml_bentos.face.vectors import EMBEDDING_DIM

NAME = "smartfit-face"


def metadata_of(version: str) -> dict[str, Any]:
    """What the package says of itself: version, preprocessing, thresholds, metrics, files with their SHA-256."""
    files = weights.weight_set(version)
    stored = load_metadata(version)
    return {
        "version": version,
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
        "files": {f.name: f.sha256 for f in (files.detector, files.embedder)},
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
