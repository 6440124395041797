"""What is particular to each model: where its versions are described, and whether people judge its answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ml_bentos import registry
from ml_bentos.laundry import package as laundry
from platform_api.core.errors import Problem


class UnknownVersion(Exception):
    """There is no such version in the store, or its package is damaged."""


@dataclass(frozen=True)
class Description:
    """What a package says of itself. metrics: numbers by name; dataset: SHA-256 of what it learnt from, where known."""

    metrics: dict[str, float]
    dataset: str | None
    details: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A model of the platform. describe: raises UnknownVersion; versions: those in the store, or shipped.

    judges: whether it gives verdicts that people decide about.
    """

    name: str
    describe: Callable[[str], Description]
    versions: Callable[[], list[str]]
    judges: bool


def _laundry(version: str) -> Description:
    try:
        found = laundry.describe(version)
    except (registry.RegistryError, laundry.PackageError) as error:
        raise UnknownVersion(str(error)) from error
    details = {key: found.get(key) for key in ("kinds", "features", "licences", "files")}
    return Description(numbers(found["metrics"]), found.get("dataset", {}).get("digest"), details)


def _face(version: str) -> Description:
    # Loads the face networks' libraries: only who asks for a face model pays for that.
    from ml_bentos.face import package, weights

    try:
        found = package.metadata_of(version)
    except (weights.WeightsError, registry.RegistryError, OSError, KeyError, ValueError) as error:
        raise UnknownVersion(str(error)) from error
    keys = ("dim", "preprocessing", "thresholds", "measured_on", "licences", "files")
    dataset = (found.get("dataset") or {}).get("digest")
    return Description(numbers(found["metrics"]), dataset, {key: found.get(key) for key in keys})


def _face_versions() -> list[str]:
    from ml_bentos.face import package, weights

    stored = registry.versions(package.NAME) if registry.models_dir() is not None else []
    return sorted({*weights.KNOWN, *stored})


KINDS: Mapping[str, Kind] = {
    "laundry": Kind("laundry", _laundry, laundry.versions, judges=True),
    "face": Kind("face", _face, _face_versions, judges=False),
}


def kind_of(model: str) -> Kind:
    """Raises Problem 404 for a model that the platform does not have."""
    try:
        return KINDS[model]
    except KeyError:
        raise Problem(404, "model_not_found", "없는 모델입니다.", "There is no such model.") from None


def numbers(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested figures as {a_b: number}; whatever is no number is left out."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}_")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = float(value)
    return found
