"""Which figures of a version are shown first, and how they are drawn; all the others stand on the version's own page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platform_api.web.languages import say


@dataclass(frozen=True)
class Figure:
    """A metric of a package; `low` and `high`: those of its interval."""

    metric: str
    ko: str
    en: str
    low: str | None = None
    high: str | None = None

    @property
    def text(self) -> str:
        """What it is called."""
        return say(self.ko, self.en)


FIGURES: dict[str, tuple[Figure, ...]] = {
    "laundry": (
        Figure("accuracy", "정확도", "accuracy", "accuracy_low", "accuracy_high"),
        Figure("accuracy_answered", "확신한 것의 정확도", "accuracy where sure"),
        Figure("coverage", "확신한 비율", "share it is sure of"),
        Figure("ece", "신뢰도 오차", "calibration error"),
    ),
    "face": (
        Figure("k4_gallery10000_tpir", "회원 인식률 (1만 명)", "members recognised (of 10,000)"),
        Figure("k4_gallery10000_fpir_max", "타인 통과율, 최악", "strangers let in, at worst"),
        Figure("k4_gallery1000_tpir", "회원 인식률 (천 명)", "members recognised (of 1,000)"),
    ),
}


@dataclass(frozen=True)
class Mark:
    """A value with its interval on a scale of 0 to 100, for the drawing, and the words beside it."""

    at: float
    low: float
    high: float
    text: str


def marks(model: str, versions: Sequence[dict[str, Any]]) -> dict[str, Mark]:
    """The first figure of each version, on one scale that holds them all."""
    if model not in FIGURES:
        return {}
    first = FIGURES[model][0]
    spans: dict[str, tuple[float, float, float]] = {}
    for version in versions:
        metrics = version["metrics"]
        value = metrics.get(first.metric)
        if value is not None:
            low, high = metrics.get(first.low or "", value), metrics.get(first.high or "", value)
            spans[version["version"]] = (value, low, high)
    if not spans:
        return {}
    least = min(low for _, low, _ in spans.values())
    floor = max(0.0, least - 0.1 * (1 - least) - 0.01)

    def place(value: float) -> float:
        return round(100 * (value - floor) / (1 - floor), 1) if floor < 1 else 100.0

    return {
        name: Mark(place(value), place(low), place(high), _text(value, low, high))
        for name, (value, low, high) in spans.items()
    }


def _text(value: float, low: float, high: float) -> str:
    shown = f"{value * 100:.1f}%"
    return f"{shown} ({low * 100:.1f}–{high * 100:.1f})" if low < high else shown


def shown(metric: str, value: float) -> str:
    """A metric as people read it: shares in percent."""
    share = 0 <= value <= 1 and not metric.endswith(("threshold", "ece", "ece_by_chance", "brier"))
    return f"{value * 100:.2f}%" if share else f"{value:.4g}"


@dataclass(frozen=True)
class Week:
    """How people agreed with a model in a week. `end`: days ago that it ended."""

    end: int
    judged: int
    decided: int
    agreed: int

    @property
    def agreement(self) -> float | None:
        """Share of those decided; None where nobody decided."""
        return self.agreed / self.decided if self.decided else None


def weeks(performances: Sequence[Sequence[dict[str, Any]]]) -> list[Week]:
    """Weeks, the oldest first, out of the sums of the last 7, 14, 21, ... days."""
    names = ("judged", "decided", "agreed")
    sums = [tuple(sum(row[name] for row in rows) for name in names) for rows in performances]
    before = (0, 0, 0)
    found = []
    for number, now in enumerate(sums):
        # A row may age out of a window between two of the questions.
        judged, decided, agreed = (max(0, new - old) for new, old in zip(now, before, strict=True))
        found.append(Week(7 * number, judged, decided, min(agreed, decided)))
        before = now
    return found[::-1]
