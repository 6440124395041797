"""What is known of faces in general under a model: the mean embedding and the covariance of templates.

SFace's embeddings do not lie around the origin: their mean has a length of about 0.3, so any two faces look somewhat
alike. Subtracting the mean before normalising takes that away (TPIR at FPIR 0.3 % rises, see the calibration table).
Both are aggregates over more than a thousand people, measured by `calibration` and stored in the model's metadata.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_bentos import registry
from ml_bentos.face import weights

METADATA = Path(__file__).parent / "metadata"


@dataclass(frozen=True, eq=False)
class Population:
    """mean: float32[d], of L2-normalised embeddings; covariance: float32[d, d], of centred, normalised templates;
    spread: exponent of its spectrum at which synthetic templates have look-alikes as real ones do (>= 1)."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    spread: float

    @functools.cached_property
    def _usual_variance(self) -> float:
        """Of the scores of the population's own members, as probes, against templates of others."""
        return float(np.sum(self.covariance**2) / np.trace(self.covariance))

    def normalised(self, probes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probes float32[n, d] scaled so that their products with templates are normalised scores: see `probe_factor`."""
        return np.asarray(probes * self.probe_factor(probes)[:, None], np.float32)

    def probe_factor(self, probes: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a probe's cosines are multiplied by, so that strangers' scores scatter alike for every face.

        A probe p scores against the templates of others with variance p' C p, C their covariance: some faces resemble
        everybody a little more. This is the standard deviation's part of Z-normalisation (Auckenthaler et al. 2000), with
        the whole population for a cohort, in closed form; the mean is nought already. The factor is the ratio of the
        population's root mean square of that deviation to the probe's, so scores stay on the scale of a cosine.

        probes: float32[n, d], L2-normalised -> float32[n].
        """
        return self.factor(self.variance(probes))

    def variance(self, probes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the scores of probes float32[n, d] against templates of others: float32[n]."""
        return np.asarray(np.sum((probes @ self.covariance) * probes, axis=1), np.float32)

    def factor(self, variance: NDArray[np.float32]) -> NDArray[np.float32]:
        """`probe_factor`, from the variance float32[n] of the probes' scores."""
        return np.asarray(np.sqrt(self._usual_variance / np.maximum(variance, 1e-12)), np.float32)

    @classmethod
    def for_version(cls, version: str) -> Population:
        """The population measured under a model version. Raises FileNotFoundError where there is none."""
        return cls.from_dict(load_metadata(version)["population"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON: little-endian float32 in base64, of the covariance the lower triangle by rows."""
        lower = self.covariance[np.tril_indices(len(self.mean))]
        return {"mean": _encode(self.mean), "covariance": _encode(lower), "spread": self.spread}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Population:
        """The inverse of `to_dict`. Raises ValueError where the sizes do not fit."""
        mean, lower = _decode(data["mean"]), _decode(data["covariance"])
        size = len(mean)
        if len(lower) != size * (size + 1) // 2:
            raise ValueError("the covariance does not fit the mean")
        covariance = np.zeros((size, size), np.float32)
        covariance[np.tril_indices(size)] = lower
        return cls(mean, covariance + np.tril(covariance, -1).T, float(data["spread"]))


def load_metadata(version: str) -> dict[str, Any]:
    """The JSON stored with a model version: thresholds, population, how and on what they were measured.

    Raises FileNotFoundError where there is none, neither here nor in an installed package.
    """
    file = METADATA / f"{version}.json"
    if not file.is_file() and registry.models_dir() is not None:
        try:
            file = registry.get(weights.NAME, version)[0] / "metadata.json"
        except (registry.RegistryError, ImportError) as error:
            raise FileNotFoundError(f"no face model {version!r}") from error
    data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return data


def _encode(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def _decode(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
