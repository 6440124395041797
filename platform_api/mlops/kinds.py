"""What is particular to each model: where its versions are described, and whether it can be taught here."""

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
    """A model of the platform. describe: raises UnknownVersion; versions: those in the store, or shipped."""

    name: str
    describe: Callable[[str], Description]
    versions: Callable[[], list[str]]
    trainable: bool


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
    except (weights.WeightsError, OSError, KeyError, ValueError) as error:
        raise UnknownVersion(str(error)) from error
    details = {key: found.get(key) for key in ("dim", "preprocessing", "measured_on", "licences", "files")}
    return Description(numbers(found["metrics"]), None, details)


def _face_versions() -> list[str]:
    from ml_bentos.face import weights

    return sorted(weights.KNOWN)


KINDS: Mapping[str, Kind] = {
    "laundry": Kind("laundry", _laundry, laundry.versions, trainable=True),
    "face": Kind("face", _face, _face_versions, trainable=False),
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
