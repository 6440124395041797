"""Where models lie and which version of each is live.

SMARTFIT_MODELS_DIR is the folder of this installation's models: a BentoML store (`bentoml/`), the weights an operator
added (`<kind>/`), and for each kind a small file naming the live version. Without the folder, the shipped versions serve.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "SMARTFIT_MODELS_DIR"


class RegistryError(RuntimeError):
    """The registry is missing, unreadable, or does not hold what was asked for."""


def models_dir() -> Path | None:
    """The folder named by SMARTFIT_MODELS_DIR, None where it is not set. Raises RegistryError if it is no folder."""
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    path = Path(value)
    if not path.is_dir():
        raise RegistryError(f"{VARIABLE}={value} is not a folder")
    return path


def _live_file(folder: Path, kind: str) -> Path:
    return folder / kind / "live.json"


def live_version(kind: str = "face") -> str:
    """The version of `kind` that serves: the one set by `set_live`, else the shipped one. Raises RegistryError."""
    folder = models_dir()
    if folder is not None and _live_file(folder, kind).is_file():
        try:
            return str(json.loads(_live_file(folder, kind).read_text("utf-8"))["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"{_live_file(folder, kind)} is damaged: {error}") from error
    if kind == "face":
        from ml_bentos.face import weights

        return weights.DEFAULT
    raise RegistryError(f"no live version of {kind!r}: set one, or set {VARIABLE}")


def set_live(kind: str, version: str) -> None:
    """Make `version` the live one of `kind`; the file is replaced in one step, so a reader sees the old or the new."""
    folder = models_dir()
    if folder is None:
        raise RegistryError(f"{VARIABLE} is not set")
    file = _live_file(folder, kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps({"version": version}) + "\n", "utf-8")
    temporary.replace(file)


def _bentoml() -> Any:
    """BentoML without its usage reports, its store in our folder where one is set."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    folder = models_dir()
    if folder is not None:
        os.environ.setdefault("BENTOML_HOME", str(folder / "bentoml"))
    import bentoml

    return bentoml


def create(name: str, version: str, metadata: Mapping[str, Any], fill: Callable[[Path], None]) -> str:
    """Store a model package `name:version` in the BentoML store; `fill(folder)` writes its files. Returns the tag.

    A package is immutable: RegistryError where the tag exists.
    """
    bentoml = _bentoml()
    try:
        with bentoml.models.create(f"{name}:{version}", metadata=dict(metadata)) as model:
            fill(Path(model.path))
    except bentoml.exceptions.BentoMLException as error:
        raise RegistryError(f"cannot store {name}:{version}: {error}") from error
    return str(model.tag)


def versions(name: str) -> list[str]:
    """The versions of a package in the store, in no particular order."""
    # Of all models, not of this name: BentoML takes a name that has none for an error.
    return [str(model.tag.version) for model in _bentoml().models.list() if model.tag.name == name]


def get(name: str, version: str) -> tuple[Path, dict[str, Any]]:
    """The folder and metadata of a stored package. Raises RegistryError where there is none."""
    bentoml = _bentoml()
    try:
        model = bentoml.models.get(f"{name}:{version}")
    except bentoml.exceptions.NotFound as error:
        raise RegistryError(f"no model package {name}:{version}") from error
    return Path(model.path), dict(model.info.metadata)
