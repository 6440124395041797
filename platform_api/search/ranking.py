"""Who comes first, and why. All that decides the order of results stands in this module.

Each signal is a number from 0 to 1; the score is their weighted mean, over the signals that a query has: without a
place there is no distance, without a login no preferences. Candidates are ranked twice: all of them by the numbers that
lie in the index's columns, then the best by what their pages say (exact hours, traits, preferences).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from platform_api.search import hours as opening
from platform_api.search.engines import Candidate
from platform_api.search.geo import kilometres
from platform_api.search.lexicon import Concept, lexicon

WEIGHTS = {"text": 1.0, "distance": 1.0, "rating": 0.5, "freshness": 0.1, "traits": 1.6, "price": 0.0, "personal": 0.35}
ORDERED = 3.0
"""Weight of the signal that the sentence asks to be best (the nearest, the cheapest, the best rated)."""
NEAR = 2.0
"""Weight of the distance where something near is asked for."""
CHEAP = 0.8
"""Weight of the price where something cheap is asked for."""
FRESH_DAYS = 120.0
_DEAR_WON = 200_000
_LIKES = 0.3


@dataclass(frozen=True)
class Taste:
    """What a member prefers, computed from visits and reviews (`preferences`).

    Attributes:
        traits, amenities: code -> -1 (dislikes) to 1 (likes).
        visited: branch -> visits.
    """

    traits: Mapping[str, float] = field(default_factory=dict)
    amenities: Mapping[str, float] = field(default_factory=dict)
    visited: Mapping[str, int] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Reason:
    """Why a branch is among the results."""

    code: str
    ko: str
    en: str


@dataclass(frozen=True)
class Ranked:
    """A result: what is shown, its score, distance, whether it is open, and why it is here."""

    source: dict[str, Any]
    score: float
    kilometres: float | None
    open_now: bool
    reasons: list[Reason]
    partial: bool = False
    """It does not fulfil all that was asked; the first reason says what was given up."""


def first(
    candidates: Sequence[Candidate], context: Context, most: int
) -> list[tuple[Candidate, dict[str, float], float | None]]:
    """The best `most` by what the columns tell, with their signals and distance."""
    today = context.moment.timestamp() / 86400
    top = max((c.score for c in candidates), default=0.0) or 1.0
    weights = _weights(context)
    cheap = weights["price"] > 0
    found = []
    for candidate in candidates:
        far = None
        signals = {"text": candidate.score / top}
        if context.origin is not None:
            far = kilometres(*context.origin, candidate.latitude, candidate.longitude)
            if context.most_km is not None and far > context.most_km:
                continue
            # Falls off fast where it matters, yet still tells 5 km from 12 km, which an exponential would not.
            signals["distance"] = 1 / (1 + far / context.reach_km)
        signals["rating"] = min(1.0, max(0.0, (candidate.rating - 2.5) / 2.5))
        signals["freshness"] = math.exp(-max(0.0, today - candidate.fresh) / FRESH_DAYS)
        if cheap:
            signals["price"] = 1 - min(1.0, (candidate.won if candidate.won is not None else _DEAR_WON) / _DEAR_WON)
        found.append((_mean(signals, weights), candidate, signals, far))
    found.sort(key=lambda item: (-item[0], item[1].rating * -1))
    return [(candidate, signals, far) for _, candidate, signals, far in found[:most]]


def second(
    best: Sequence[tuple[Candidate, dict[str, float], float | None]],
    sources: Sequence[dict[str, Any]],
    context: Context,
) -> list[Ranked]:
    """The final order of those that fulfil the hours exactly."""
    weights = _weights(context)
    found = []
    for (_, signals, far), source in zip(best, sources, strict=True):
        if not source:
            continue
        minute = opening.minute_of_week(context.moment, source["timezone"])
        open_now = opening.is_open(source["hours"], minute)
        if (context.open_now and not open_now) or not opening.opens_all(source["hours"], context.slots):
            continue
        signals = dict(signals)
        if context.traits:
            signals["traits"] = sum(min(1.0, source["traits"].get(t.code, 0.0)) for t in context.traits) / len(
                context.traits
            )
        liked = _liked(source, context.taste) if context.taste else []
        if context.taste:
            signals["personal"] = personal(source, context.taste)
        score = _mean(signals, weights)
        found.append(Ranked(source, round(score, 4), far, open_now, _reasons(source, far, open_now, context, liked)))
    found.sort(key=lambda ranked: (-ranked.score, ranked.source["branch_id"]))
    return found


def _weights(context: Context) -> dict[str, float]:
    weights = dict(WEIGHTS)
    if any(concept.code == "value" for concept in context.traits):
        weights["price"] = CHEAP
    if context.near:
        weights["distance"] = NEAR
    if context.order:
        weights[context.order] = ORDERED
    return weights


def _mean(signals: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weights[name] * value for name, value in signals.items()) / sum(weights[name] for name in signals)


def personal(source: Mapping[str, Any], taste: Taste) -> float:
    """How much a branch is to a member's taste, 0 to 1; 0.5 is neither here nor there."""
    value = sum(weight * source["traits"].get(code, 0.0) for code, weight in taste.traits.items())
    value += 0.5 * sum(weight for code, weight in taste.amenities.items() if code in source["amenities"])
    value += 0.5 * math.log1p(taste.visited.get(source["branch_id"], 0))
    return 1 / (1 + math.exp(-value))


def _liked(source: Mapping[str, Any], taste: Taste) -> list[Concept]:
    """What a member likes and the branch has, the most liked first; only what has a name to be told by."""
    has = {f"trait:{code}" for code, value in source["traits"].items() if value >= _LIKES}
    has |= {f"amenity:{code}" for code in source["amenities"]}
    liked = {f"trait:{code}": weight for code, weight in taste.traits.items()}
    liked |= {f"amenity:{code}": weight for code, weight in taste.amenities.items()}
    by_term = lexicon().by_term
    terms = [term for term, weight in liked.items() if weight >= _LIKES and term in has and term in by_term]
    return [by_term[term] for term in sorted(terms, key=lambda term: -liked[term])][:2]


def _reasons(
    source: Mapping[str, Any], far: float | None, open_now: bool, context: Context, liked: Sequence[Concept]
) -> list[Reason]:
    """The strongest first: what was asked for, then what speaks for the branch by itself."""
    found = []
    if far is not None:
        ko, en = distance_text(far)
        there, here = context.origin_name, context.origin_name or "you"
        found.append(Reason("distance", f"{there}에서 {ko}" if there else f"내 위치에서 {ko}", f"{en} from {here}"))
    if opening.never_closes(source["hours"]):
        found.append(Reason("always_open", "24시간 운영", "Open around the clock"))
    elif open_now:
        found.append(Reason("open_now", "지금 영업 중", "Open now"))
    for concept in context.wanted:
        if concept.code in source["amenities"]:
            found.append(Reason("amenity", f"{concept.ko} 있음", f"Has {concept.en.lower()}"))
    for concept in context.traits:
        if source["traits"].get(concept.code, 0.0) >= _LIKES:
            found.append(Reason("trait", f"{concept.ko} 곳이라는 평", f"Members say: {concept.en.lower()}"))
    won = source["monthly_won"]
    if won is not None and (context.max_won is not None or context.order == "price"):
        found.append(Reason("price", f"월 {won:,}원부터", f"From {won:,} won a month"))
    if context.taste is not None:
        visits = context.taste.visited.get(source["branch_id"], 0)
        if visits:
            found.append(Reason("visited", f"{visits}번 다녀온 곳", f"You have been here {visits} times"))
        elif liked:
            ko, en = ", ".join(c.ko for c in liked), ", ".join(c.en.lower() for c in liked)
            found.append(Reason("personal", f"좋아하시는 점: {ko}", f"What you like: {en}"))
    if source["reviews"] >= 3 and source["rating"] >= 4.0:
        count, stars = source["reviews"], source["rating"]
        found.append(Reason("rating", f"평점 {stars:.1f} (리뷰 {count}개)", f"Rated {stars:.1f} by {count} members"))
    return found


def distance_text(km: float) -> tuple[str, str]:
    """A distance as people say it, in Korean and English."""
    text = f"{max(10, round(km * 100) * 10)}m" if km < 0.95 else f"{km:.1f}km" if km < 10 else f"{km:.0f}km"
    return text, text.replace("m", " m") if km < 0.95 else text.replace("km", " km")
