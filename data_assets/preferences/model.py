"""Which branches a member will like: own visits, those of members alike, the branch's character, and what is popular.

Implicit feedback (Hu, Koren and Volinsky 2008): a visit is a liking whose weight halves with time, and a rating makes it more
or less. Members alike are found by a truncated SVD of the members' visits, as shares of each member's own (PureSVD: Cremonesi,
Koren and Turrin 2010). How the four parts are weighed is chosen on visits later than those learnt from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

Array = npt.NDArray[np.float32]

MOST_COMPONENTS = 16
_SURE_AT = 2.0
_CHUNK = 2000


@dataclass(frozen=True)
class Weights:
    """How much each part counts."""

    own: float = 1.0
    alike: float = 0.5
    popular: float = 0.1
    character: float = 0.1


GRID = tuple(
    Weights(own, alike, popular, character)
    for own, alike, popular, character in product((1.0, 0.3), (0.0, 0.5, 1.5), (0.02, 0.2), (0.0, 0.2))
)


@dataclass(frozen=True)
class Data:
    """Visits as a matrix.

    Attributes:
        members, branches: what the rows and columns stand for.
        liking: members x branches, decayed visits, on a logarithmic scale.
        character: branches x traits, each trait with mean 0 and deviation 1 over the branches (0 where unknown).
        traits: names of its columns.
    """

    members: Sequence[str]
    branches: Sequence[str]
    liking: "csr_matrix"
    character: Array
    traits: Sequence[str]


def matrix(
    visits: "pd.DataFrame",
    ratings: "pd.DataFrame",
    traits: Mapping[str, Mapping[str, float]],
    until: "pd.Timestamp",
    half_life_days: float,
) -> Data:
    """The visits before `until`, as a matrix; ratings of later days do not count either."""
    import pandas as pd
    from scipy.sparse import csr_matrix

    seen = visits[visits["day"] < until]
    weight = 0.5 ** ((until - seen["day"]).dt.days / half_life_days)
    liked = weight.groupby([seen["member"], seen["branch_id"]]).sum().rename("weight").reset_index()
    said = ratings[ratings["day"] < until].drop_duplicates(["member", "branch_id"], keep="last")
    said = said.astype({"member": liked["member"].dtype, "branch_id": liked["branch_id"].dtype})
    liked = liked.merge(said[["member", "branch_id", "rating"]], how="left", on=["member", "branch_id"])
    # One star takes most of a liking away, five stars add a half; who says nothing but comes again is content.
    factor = (liked["rating"].fillna(3.5) / 3.5).clip(0.3, 1.5)
    values = np.log1p(liked["weight"].to_numpy()) * factor.to_numpy()
    members, branches = pd.Index(sorted(liked["member"].unique())), pd.Index(sorted(visits["branch_id"].unique()))
    places = (members.get_indexer(liked["member"]), branches.get_indexer(liked["branch_id"]))
    liking = csr_matrix((values.astype(np.float32), places), shape=(len(members), len(branches)))
    names = sorted({name for of_branch in traits.values() for name in of_branch})
    return Data(list(members), list(branches), liking, _character(list(branches), names, traits), names)


def _character(branches: Sequence[str], names: Sequence[str], traits: Mapping[str, Mapping[str, float]]) -> Array:
    raw = np.array([[traits.get(branch, {}).get(name, np.nan) for name in names] for branch in branches], np.float32)
    if not raw.size:
        return np.zeros((len(branches), len(names)), np.float32)
    known = ~np.isnan(raw)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, raw, 0).sum(0) / count
    centred = np.where(known, raw - mean, 0)
    deviation = np.sqrt((centred**2).sum(0) / count)
    return (centred / np.where(deviation > 1e-6, deviation, 1)).astype(np.float32)


class Recommender:
    """Fitted to `data`."""

    def __init__(self, data: Data) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.preprocessing import normalize

        self.data = data
        self.shares = normalize(data.liking, norm="l1")
        self.popular = np.asarray(data.liking.sum(0), np.float32).ravel()
        self.popular /= max(float(self.popular.max(initial=0.0)), 1e-9)
        # Far fewer than branches, or everybody would be alike to nobody but themselves.
        components = min(MOST_COMPONENTS, len(data.branches) // 2, len(data.members) - 1)
        self._svd = TruncatedSVD(components, random_state=0).fit(self.shares) if components > 0 else None

    def parts(self, rows: Sequence[int]) -> tuple[Array, Array, Array, Array]:
        """Of these members: own shares, those of members alike, popularity, fit of the character; members x branches."""
        own = self.shares[rows].toarray().astype(np.float32)
        alike = np.zeros_like(own)
        if self._svd is not None:
            near = self._svd.inverse_transform(self._svd.transform(self.shares[rows]))
            alike = np.clip(near, 0, None).astype(np.float32)
            alike /= np.maximum(alike.sum(1, keepdims=True), np.float32(1e-9))
        fit = self.affinities(own, alike) @ self.data.character.T
        largest = np.maximum(np.abs(fit).max(1, keepdims=True), 1e-9)
        return own, alike, np.broadcast_to(self.popular, own.shape), (fit / largest).astype(np.float32)

    def affinities(self, own: Array, alike: Array) -> Array:
        """What the members look for in a branch, members x traits: the mean character of where they and their like go."""
        found: Array = ((own + alike) @ self.data.character * 0.5).astype(np.float32)
        return found

    def recommended(self, weights: Weights, most: int) -> Iterator[dict[str, Any]]:
        """Of every member: the best branches, each with its strength (0 to 1), and the affinity to each trait (-1 to 1)."""
        visits = np.asarray((self.data.liking > 0).sum(1)).ravel() + np.asarray(self.data.liking.sum(1)).ravel()
        for start in range(0, len(self.data.members), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(self.data.members)))
            parts = self.parts(rows)
            scores, affinities = weighed(parts, weights), np.tanh(self.affinities(parts[0], parts[1]))
            for place, row in enumerate(rows):
                # Little evidence makes for a weak opinion.
                sure = float(visits[row] / (visits[row] + _SURE_AT))
                best = top(scores[place], most)
                strength = scores[place][best] / max(float(scores[place][best].max(initial=0.0)), 1e-9) * sure
                yield {
                    "member": self.data.members[row],
                    "branches": {
                        self.data.branches[b]: round(float(np.clip(s, 0, 1)), 3)
                        for b, s in zip(best, strength, strict=True)
                    },
                    "traits": {
                        name: round(float(value * sure), 3)
                        for name, value in zip(self.data.traits, affinities[place], strict=True)
                    },
                }


def weighed(parts: tuple[Array, Array, Array, Array], weights: Weights) -> Array:
    """The sum of the parts."""
    own, alike, popular, character = parts
    found: Array = weights.own * own + weights.alike * alike + weights.popular * popular + weights.character * character
    return found


def top(scores: Array, most: int) -> npt.NDArray[np.intp]:
    """Places of the best, the best first; equals in the order of the branches."""
    return np.argsort(-scores, kind="stable")[:most]
