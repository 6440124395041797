"""When a version on trial, or newly live, is not good enough: plain comparisons of figures with an operator's bounds."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from platform_api.mlops.settings import MlopsSettings

SIGNIFICANT = 0.05
"""Level of the sign test."""


@dataclass(frozen=True)
class Figures:
    """How a version did, beside another.

    samples: tasks (photo judge) or frames (faces); errors: of them, those it broke on. rate: share of sure verdicts, or of
    accepted frames; p50_ms: median time of a photo or frame. reference_*: the same of the live or former version; None
    where it has not been seen. compared, agreed: a shadow's, those that both were sure of, and said the same of.
    candidate_right, live_right: contradictions that a person decided about, with whom.
    """

    samples: int = 0
    errors: int = 0
    rate: float | None = None
    p50_ms: float | None = None
    reference_samples: int = 0
    reference_rate: float | None = None
    reference_p50_ms: float | None = None
    compared: int = 0
    agreed: int = 0
    candidate_right: int = 0
    live_right: int = 0

    def as_json(self) -> dict[str, Any]:
        """By name, numbers short."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def trouble(model: str, found: Figures, bounds: MlopsSettings, latency_ratio: float, least: int) -> str | None:
    """Why the figures are out of bounds, in words for an operator; None where they are within.

    Args:
        latency_ratio: highest median time against the other version's.
        least: samples of the other version below which nothing is compared with it.
    """
    if found.errors > bounds.watch_max_errors * max(found.samples, 1):
        return f"errors: {found.errors} of {found.samples} (bound {bounds.watch_max_errors:.1%})"
    shadow = _disagreement(model, found, bounds)
    if shadow is not None:
        return shadow
    if found.reference_samples < least:
        return None
    if found.p50_ms and found.reference_p50_ms and found.p50_ms > latency_ratio * found.reference_p50_ms:
        times = f"median {found.p50_ms:.1f} ms against {found.reference_p50_ms:.1f} ms"
        return f"latency: {times} (bound {latency_ratio:g} times)"
    if found.rate is None or found.reference_rate is None:
        return None
    what = "share of sure verdicts" if model == "laundry" else "accept rate"
    by = found.rate - found.reference_rate
    if by < -bounds.watch_max_rate_fall:
        return f"{what}: {found.rate:.3f} against {found.reference_rate:.3f} (bound -{bounds.watch_max_rate_fall:g})"
    if model == "face" and by > bounds.watch_max_rate_rise:
        return f"{what}: {found.rate:.3f} against {found.reference_rate:.3f} (bound +{bounds.watch_max_rate_rise:g})"
    return None


def _disagreement(model: str, found: Figures, bounds: MlopsSettings) -> str | None:
    """Whom people sided with where the two said otherwise, and how often they agree at all.

    A new judge is taught to contradict the live one where that is wrong, so contradicting alone is no fault. People's word
    counts against it once chance would hardly have it so: one-sided exact sign test (Dixon and Mood, 1946). One that agrees
    less than the loose bound needs people to be with it as often as not.
    """
    if not found.compared:
        return None
    share = found.agreed / found.compared
    decided = found.candidate_right + found.live_right
    told = f"agreement with the live version: {share:.3f} of {found.compared}"
    people = f"people decided for it in {found.candidate_right} of {decided} contradictions"
    if decided and (chance := sign_test(found.live_right, decided)) < SIGNIFICANT:
        return f"{told}; {people} (p {chance:.2g})"
    least = bounds.shadow_min_agreement if model == "laundry" else bounds.shadow_min_agreement_face
    if share >= least or (decided and found.candidate_right >= found.live_right):
        return None
    return f"{told} (bound {least:g}); {people}"


def sign_test(against: int, of: int) -> float:
    """Probability of at least `against` out of `of` where either side is as likely."""
    return sum(math.comb(of, count) for count in range(against, of + 1)) / 2**of
