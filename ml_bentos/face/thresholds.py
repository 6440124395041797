"""When is a face like enough? Thresholds for a stated FPIR and gallery size, measured, and stored with the model.

A gallery of N members gives a stranger N chances: FPIR = 1 - (1 - FMR)^N (ISO/IEC 19795-1). So the threshold is not one
number: `accept(N, fpir)` turns the wanted FPIR into the FMR one comparison may have, and reads the score off the
measured tail of the impostor distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ml_bentos.face.population import load_metadata

if TYPE_CHECKING:
    from ml_bentos.face.model import FaceModel


@dataclass(frozen=True)
class Thresholds:
    """The operating points of one model version.

    log10_fmr, score: the tail of the impostor distribution, as points of falling FMR and rising score.
    margin: what the best candidate must lead the runner-up by. retry_band: how far below the threshold another frame is
    worth while. duplicate: score from which a new face is taken for one already enrolled. same_person: cosine that
    enrolment photos of one person reach.
    """

    model_version: str
    log10_fmr: tuple[float, ...]
    score: tuple[float, ...]
    margin: float
    retry_band: float
    duplicate: float
    same_person: float

    @classmethod
    def for_model(cls, model: FaceModel) -> Thresholds:
        """The thresholds measured for this model's version. Raises FileNotFoundError where there are none."""
        return cls.for_version(model.version)

    @classmethod
    def for_version(cls, version: str) -> Thresholds:
        """As `for_model`, by the version's name."""
        return cls.from_dict(load_metadata(version)["thresholds"])

    def accept(self, gallery_size: int, fpir: float = 0.003) -> float:
        """The lowest score that lets a face in, for `gallery_size` members and the wanted FPIR (0 < fpir < 1).

        Rises with the gallery. Beyond the measured tail it goes on along the tail's last slope.
        """
        if not 0 < fpir < 1:
            raise ValueError("fpir must lie between 0 and 1")
        log_fmr = math.log10(-math.expm1(math.log1p(-fpir) / max(1, gallery_size)))
        x, y = np.array(self.log10_fmr), np.array(self.score)
        if log_fmr < x[-1]:
            return float(y[-1] + (log_fmr - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2]))
        return float(np.interp(-log_fmr, -x, y))

    def to_dict(self) -> dict[str, Any]:
        """As JSON: for the model's metadata and the change feed."""
        return {
            "model_version": self.model_version,
            "log10_fmr": list(self.log10_fmr),
            "score": list(self.score),
            "margin": self.margin,
            "retry_band": self.retry_band,
            "duplicate": self.duplicate,
            "same_person": self.same_person,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Thresholds:
        """The inverse of `to_dict`. Raises KeyError or ValueError on what is not one."""
        log_fmr, score = tuple(map(float, data["log10_fmr"])), tuple(map(float, data["score"]))
        if len(log_fmr) != len(score) or len(score) < 2:
            raise ValueError("the impostor tail needs two points or more, FMR and score alike")
        if any(b >= a for a, b in pairwise(log_fmr)) or any(b <= a for a, b in pairwise(score)):
            raise ValueError("along the impostor tail FMR must fall and the score rise")
        return cls(
            str(data["model_version"]),
            log_fmr,
            score,
            *(float(data[k]) for k in ("margin", "retry_band", "duplicate", "same_person")),
        )
