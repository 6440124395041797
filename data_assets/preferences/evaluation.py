"""Whether recommendations are worth more than telling everybody what is popular: recall on visits later than those learnt from.

The last days are what is measured on, the days before them what the weights are chosen on; nothing of either is learnt from.
Recall@k of a member: share of the branches visited later that stand among the first k. The interval is a bootstrap over
members (Efron), of the gain of each over popularity.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_assets.preferences.model import GRID, Data, Recommender, Weights, matrix, top, weighed
from data_assets.preferences.settings import PreferenceLineSettings

if TYPE_CHECKING:
    import pandas as pd

DEPTH = 10
MOST_MEASURED = 4000
_RESAMPLES = 1000


@dataclass(frozen=True)
class Outcome:
    """How recommendations fare.

    Attributes:
        members: measured on; `depth`: k of recall@k (less than 10 only in a chain so small that 10 would be nearly all of it).
        recall, popularity: on all later visits. recall_new, popularity_new: on branches never visited before, and these alone.
        gain, gain_low, gain_high: recall less popularity, with its 95 % interval.
    """

    members: int = 0
    depth: int = DEPTH
    recall: float = 0.0
    popularity: float = 0.0
    gain: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0
    recall_new: float = 0.0
    popularity_new: float = 0.0
    members_new: int = 0

    @property
    def not_worse(self) -> bool:
        """No worse than popularity, within what chance explains."""
        return self.gain_high >= 0

    def value(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def depth_for(branches: int) -> int:
    """k of recall@k: 10, or a third of a small chain."""
    return min(DEPTH, max(1, branches // 3))


def chosen(
    visits: "pd.DataFrame",
    ratings: "pd.DataFrame",
    traits: Mapping[str, Mapping[str, float]],
    settings: PreferenceLineSettings,
) -> tuple[Weights, Outcome]:
    """The weights that do best on the days before the last, and how they fare on the last."""
    import pandas as pd

    if visits.empty:
        return Weights(), Outcome()
    end = visits["day"].max() + pd.Timedelta(days=1)
    length = pd.Timedelta(days=settings.preference_test_days)
    tested, validated = end - length, end - 2 * length
    weights = Weights()
    earlier = _Case.of(visits, ratings, traits, validated, tested, settings)
    if earlier is not None and len(earlier.rows) >= settings.preference_min_members:
        weights = max(GRID, key=lambda each: float(earlier.recalls(each).mean()))
    case = _Case.of(visits, ratings, traits, tested, end, settings)
    return weights, Outcome() if case is None else case.outcome(weights)


@dataclass
class _Case:
    """Learnt until a day, measured on what came then."""

    data: Data
    parts: tuple[Any, Any, Any, Any]
    rows: npt.NDArray[np.intp]
    later: npt.NDArray[np.bool_]
    depth: int

    @classmethod
    def of(
        cls, visits: "pd.DataFrame", ratings: "pd.DataFrame", traits: Mapping[str, Mapping[str, float]],
        start: "pd.Timestamp", end: "pd.Timestamp", settings: PreferenceLineSettings,
    ) -> "_Case | None":  # fmt: skip
        import pandas as pd

        data = matrix(visits, ratings, traits, start, settings.preference_half_life_days)
        then = visits[(visits["day"] >= start) & (visits["day"] < end)]
        members, branches = pd.Index(data.members), pd.Index(data.branches)
        places = members.get_indexer(then["member"])
        rows = np.unique(places[places >= 0])
        if not len(rows):
            return None
        if len(rows) > MOST_MEASURED:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST_MEASURED, replace=False))
        known = np.isin(places, rows)
        later = np.zeros((len(rows), len(branches)), bool)
        later[np.searchsorted(rows, places[known]), branches.get_indexer(then["branch_id"])[known]] = True
        parts = Recommender(data).parts(rows.tolist())
        return cls(data, parts, rows, later, depth_for(len(branches)))

    def recalls(self, weights: Weights, new: bool = False) -> npt.NDArray[np.float64]:
        """Recall of each member; `new`: of branches never visited before."""
        return self._recalls(weighed(self.parts, weights), new)

    def _recalls(self, scores: npt.NDArray[np.float32], new: bool) -> npt.NDArray[np.float64]:
        visited = self.data.liking[self.rows].toarray() > 0
        found = []
        for score, later, before in zip(scores, self.later, visited, strict=True):
            wanted = later & ~before if new else later
            if wanted.any():
                best = top(np.where(before, -np.inf, score) if new else score, self.depth)
                found.append(float(wanted[best].sum()) / min(self.depth, int(wanted.sum())))
        return np.array(found)

    def outcome(self, weights: Weights) -> Outcome:
        ours, popular = self.recalls(weights), self._recalls(self.parts[2], False)
        gains = ours - popular
        drawn = np.random.default_rng(0).integers(0, len(gains), (_RESAMPLES, len(gains)))
        low, high = np.percentile(gains[drawn].mean(1), [2.5, 97.5])
        new, popular_new = self.recalls(weights, new=True), self._recalls(self.parts[2], True)
        figures = {
            "recall": ours.mean(), "popularity": popular.mean(), "gain": gains.mean(), "gain_low": low, "gain_high": high,
            "recall_new": new.mean() if len(new) else 0.0, "popularity_new": popular_new.mean() if len(new) else 0.0,
        }  # fmt: skip
        rounded = {name: round(float(value), 4) for name, value in figures.items()}
        return Outcome(members=len(gains), depth=self.depth, members_new=len(new), **rounded)
