"""Who comes first, and why. All that decides the order of results stands in this module.

Each signal is a number from 0 to 1; the score is their weighted mean, over the signals that a query has: without a
place there is no distance, without a login no preferences. Candidates are ranked twice: all of them by the numbers that
lie in the index's columns, then the best by what their pages say (exact hours, traits, preferences).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from platform_api.search import hours as opening
from platform_api.search.engines import Candidate
from platform_api.search.geo import distances
from platform_api.search.lexicon import Concept

WEIGHTS = {"text": 1.0, "distance": 1.0, "rating": 0.5, "freshness": 0.1, "traits": 1.6, "price": 0.0, "personal": 0.35}
ORDERED = 3.0
"""Weight of the signal that the sentence asks to be best (the nearest, the cheapest, the best rated)."""
NEAR = 2.0
"""Weight of the distance where something near is asked for."""
CHEAP = 0.8
"""Weight of the price where something cheap is asked for."""
FRESH_DAYS = 120.0
_DEAR_WON = 200_000


@dataclass(frozen=True)
class Taste:
    """What a member prefers, computed from visits and reviews (`members`).

    Attributes:
        traits, amenities: code -> -1 (dislikes) to 1 (likes).
        visited: branch -> visits.
        recommended: branch -> 0 to 1, learnt from where members like this one go.
    """

    traits: Mapping[str, float] = field(default_factory=dict)
    amenities: Mapping[str, float] = field(default_factory=dict)
    visited: Mapping[str, int] = field(default_factory=dict)
    recommended: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a ranking goes by.

    Attributes:
        origin: where distances are measured from, and what that is called (None: where the caller is).
        reach_km: distance at which closeness has fallen to a half.
        most_km: no branch farther than that.
        order: what was asked to be best: rating, price or distance; near: it should be close.
        open_now, slots: hours that must hold exactly.
    """

    moment: datetime
    origin: tuple[float, float] | None = None
    origin_name: str | None = None
    reach_km: float = 3.0
    most_km: float | None = None
    wanted: Sequence[Concept] = ()
    traits: Sequence[Concept] = ()
    order: str | None = None
    near: bool = False
    open_now: bool = False
    slots: Sequence[int] = ()
    max_won: int | None = None
    taste: Taste | None = None


class Scored(NamedTuple):
    """A candidate after the first ranking: its weighted sum of signals, their weights, and its distance."""

    candidate: Candidate
    weighted: float
    weights: float
    kilometres: float | None


@dataclass(frozen=True)
class Ranked:
    """A branch in its final place. Why it is there is told by `reasons.why`, for those that are shown."""

    source: dict[str, Any]
    score: float
    kilometres: float | None
    context: Context


def first(candidates: Sequence[Candidate], context: Context, most: int) -> list[Scored]:
    """The best `most` by what the columns tell. All at once, in arrays: there are hundreds of candidates."""
    if not candidates:
        return []
    _, scores, latitudes, longitudes, ratings, prices, days = zip(*candidates, strict=True)
    weights = _weights(context)
    score = np.array(scores)
    signals = {
        "text": score / (score.max() or 1.0),
        "rating": np.clip((np.array(ratings) - 2.5) / 2.5, 0, 1),
        "freshness": np.exp(-np.maximum(0, context.moment.timestamp() / 86400 - np.array(days)) / FRESH_DAYS),
    }
    if weights["price"]:
        won = np.array([_DEAR_WON if price is None else price for price in prices])
        signals["price"] = 1 - np.minimum(1, won / _DEAR_WON)
    far = None
    if context.origin is not None:
        far = distances(*context.origin, np.array(latitudes), np.array(longitudes))
        # Falls off fast where it matters, yet still tells 5 km from 12 km, which an exponential would not.
        signals["distance"] = 1 / (1 + far / context.reach_km)
    weighted = sum((weights[name] * signal for name, signal in signals.items()), np.zeros(len(score)))
    total = sum(weights[name] for name in signals)
    order = np.argsort(-weighted, kind="stable")
    if far is not None and context.most_km is not None:
        order = order[far[order] <= context.most_km]
    return [
        Scored(candidates[i], float(weighted[i]), total, None if far is None else float(far[i])) for i in order[:most]
    ]


def second(best: Sequence[Scored], sources: Sequence[Mapping[str, Any]], context: Context) -> list[Ranked]:
    """The final order, of those that fulfil the hours to the minute. A source is empty where a branch has gone since."""
    weights = _weights(context)
    found = []
    for scored, source in zip(best, sources, strict=True):
        if not source or not _opens(source, context):
            continue
        weighted, total = scored.weighted, scored.weights
        if context.traits:
            has = source["traits"]
            weighted += (
                weights["traits"] * sum(has.get(trait.code, 0.0) for trait in context.traits) / len(context.traits)
            )
            total += weights["traits"]
        if context.taste is not None:
            weighted += weights["personal"] * personal(source, context.taste)
            total += weights["personal"]
        found.append(Ranked(dict(source), round(weighted / total, 4), scored.kilometres, context))
    found.sort(key=lambda ranked: (-ranked.score, ranked.source["branch_id"]))
    return found


def _opens(source: Mapping[str, Any], context: Context) -> bool:
    if context.open_now and not open_at(source, context.moment):
        return False
    return not context.slots or opening.opens_all(source["hours"], context.slots)


def open_at(source: Mapping[str, Any], moment: datetime) -> bool:
    """Whether a branch is open at that moment, by its own clock."""
    return opening.is_open(source["hours"], opening.minute_of_week(moment, source["timezone"]))


def _weights(context: Context) -> dict[str, float]:
    weights = dict(WEIGHTS)
    if any(concept.code == "value" for concept in context.traits):
        weights["price"] = CHEAP
    if context.near:
        weights["distance"] = NEAR
    if context.order:
        weights[context.order] = ORDERED
    return weights


def personal(source: Mapping[str, Any], taste: Taste) -> float:
    """How much a branch is to a member's taste, 0 to 1; 0.5 is neither here nor there."""
    value = sum(weight * source["traits"].get(code, 0.0) for code, weight in taste.traits.items())
    value += 0.5 * sum(weight for code, weight in taste.amenities.items() if code in source["amenities"])
    value += 0.5 * math.log1p(taste.visited.get(source["branch_id"], 0))
    value += taste.recommended.get(source["branch_id"], 0.0)
    return 1 / (1 + math.exp(-value))
