"""Where models lie and which version of each is live.

SMARTFIT_MODELS_DIR is the folder of this installation's models: a BentoML store (`bentoml/`), packages that came as signed
archives (`packages/`, see `archives`), the weights an operator added (`<kind>/`), and for each kind a small file naming the
live version. Without the folder, the shipped versions serve. BentoML is imported only where its store is there: a gate node
has packages, and no BentoML.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "SMARTFIT_MODELS_DIR"
MANIFEST = "package.json"
"""Beside the files of an installed package: what the archive said of it."""
OWN_FILES = frozenset({MANIFEST, "model.yaml"})
"""What the stores write beside the files of a package."""


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


def _bentoml() -> tuple[Any, dict[str, Any]]:
    """BentoML without its usage reports, and what names the store to its calls: looked up anew at each, for BentoML itself
    keeps the one of its first import."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    home = _home()
    if home is not None:
        os.environ.setdefault("BENTOML_HOME", str(home))
    import bentoml

    if home is None:
        return bentoml, {}
    from bentoml._internal.models import ModelStore

    (home / "models").mkdir(parents=True, exist_ok=True)
    return bentoml, {"_model_store": ModelStore(str(home / "models"))}


def create(name: str, version: str, metadata: Mapping[str, Any], fill: Callable[[Path], None]) -> str:
    """Store a model package `name:version` in the BentoML store; `fill(folder)` writes its files. Returns the tag.

    A package is immutable: RegistryError where the tag exists.
    """
    bentoml, store = _bentoml()
    try:
        with bentoml.models.create(f"{name}:{version}", metadata=dict(metadata), **store) as model:
            fill(Path(model.path))
    except bentoml.exceptions.BentoMLException as error:
        raise RegistryError(f"cannot store {name}:{version}: {error}") from error
    return str(model.tag)


def versions(name: str) -> list[str]:
    """The versions of a package in the stores, in no particular order."""
    place = packages_dir()
    installed = [path.parent.name for path in (place / name).glob(f"*/{MANIFEST}")] if place is not None else []
    installed = [version for version in installed if not version.startswith(".")]
    if not _has_store():
        return installed
    # Of all models, not of this name: BentoML takes a name that has none for an error.
    bentoml, store = _bentoml()
    made = [str(model.tag.version) for model in bentoml.models.list(**store) if model.tag.name == name]
    return list(dict.fromkeys([*installed, *made]))


def get(name: str, version: str) -> tuple[Path, dict[str, Any]]:
    """The folder and metadata of a package: installed from an archive, else in the BentoML store.

    Raises RegistryError where there is none, or where it cannot be read.
    """
    place = packages_dir()
    folder = place / name / version if place is not None else None
    if folder is not None and (folder / MANIFEST).is_file():
        try:
            return folder, dict(json.loads((folder / MANIFEST).read_text("utf-8"))["metadata"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RegistryError(f"the package {name}:{version} is damaged: {error}") from error
    if not _has_store():
        raise RegistryError(f"no model package {name}:{version}")
    bentoml, store = _bentoml()
    try:
        model = bentoml.models.get(f"{name}:{version}", **store)
    except bentoml.exceptions.BentoMLException as error:
        raise RegistryError(f"no model package {name}:{version}") from error
    return Path(model.path), dict(model.info.metadata)


def packages_dir() -> Path | None:
    """Where packages that came as archives lie; None without SMARTFIT_MODELS_DIR. Raises RegistryError if that is no folder."""
    folder = models_dir()
    return folder / "packages" if folder is not None else None


def _has_store() -> bool:
    """Whether there is a BentoML store."""
    home = _home()
    return home is None or home.is_dir()


def _home() -> Path | None:
    """BENTOML_HOME, or ours; None without either: BentoML's own default."""
    folder, named = models_dir(), os.environ.get("BENTOML_HOME")
    if named:
        return Path(named)
    return folder / "bentoml" if folder is not None else None
