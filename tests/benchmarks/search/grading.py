"""How well a branch answers a query: 0 to 3, from what the query's author wrote down as its intent.

An intent is a dict of criteria. It speaks of plain facts of a branch and of its `truth` (see `world`), never of anything
the product computes.

    near [lat, lon, km]   within km; within twice as far is half as good
    area [words]          the address holds each of these
    either [[intent]...]  one of these place intents holds
    name [words]          the name holds each of these
    amenities, without    codes
    always                never closes
    open_at ["sun 14:00"] open at each of these
    max_won, min_won      of the month's price
    min_rating            of the plain mean of the ratings
    traits [names]        truth of at least 0.6
    prefer                rating | price | distance: among those that fulfil the rest, the best third, the next, the rest

Grade: 0 where the place or the name is wrong. 3 where all holds. Of several other conditions one may fail: then 1. A
trait that is missing costs one grade (all of several missing: two); being in the outer ring costs one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TRUE = 0.6


def grades(branches: Sequence[Mapping[str, Any]], intent: Mapping[str, Any]) -> dict[str, int]:
    """Grade by branch id, those of 0 left out."""
    found = {branch["branch_id"]: grade(branch, intent) for branch in branches}
    if "prefer" in intent:
        full = [branch for branch in branches if found[branch["branch_id"]] == 3]
        full.sort(key=lambda branch: _preferred(branch, intent))
        for place, branch in enumerate(full):
            found[branch["branch_id"]] = 3 if place < len(full) / 3 else 2 if place < 2 * len(full) / 3 else 1
    return {branch_id: value for branch_id, value in found.items() if value}


def grade(branch: Mapping[str, Any], intent: Mapping[str, Any]) -> int:
    """The grade of one branch, preferences aside."""
    place = (
        max((_place(branch, part) for part in intent["either"]), default=0)
        if "either" in intent
        else _place(branch, intent)
    )
    if place == 0 or any(word not in branch["name"] for word in intent.get("name", ())):
        return 0
    conditions = _conditions(branch, intent)
    failed = conditions.count(False)
    if failed:
        return 1 if failed == 1 and len(conditions) > 1 and place == 2 else 0
    traits = [branch["truth"].get(trait, 0) >= _TRUE for trait in intent.get("traits", ())]
    missing = 0 if all(traits) else 2 if not any(traits) else 1
    return max(1, 3 - missing - (place == 1))


def _place(branch: Mapping[str, Any], intent: Mapping[str, Any]) -> int:
    """2 in the place, 1 in the outer ring, 0 elsewhere."""
    if any(word not in branch["address"] for word in intent.get("area", ())):
        return 0
    if "near" in intent:
        latitude, longitude, km = intent["near"]
        far = distance(branch, latitude, longitude)
        return 2 if far <= km else 1 if far <= 2 * km else 0
    return 2


def _conditions(branch: Mapping[str, Any], intent: Mapping[str, Any]) -> list[bool]:
    won = min(round(price["won"] / price["months"]) for price in branch["prices"])
    ratings = branch["ratings"]
    found = [code in branch["amenities"] for code in intent.get("amenities", ())]
    found += [code not in branch["amenities"] for code in intent.get("without", ())]
    found += [is_open(branch["hours"], moment) for moment in intent.get("open_at", ())]
    if intent.get("always"):
        found.append(branch["hours"] is None)
    if "max_won" in intent or "min_won" in intent:
        found.append(intent.get("min_won", 0) <= won <= intent.get("max_won", math.inf))
    if "min_rating" in intent:
        found.append(bool(ratings) and sum(ratings) / len(ratings) >= intent["min_rating"])
    return found


def _preferred(branch: Mapping[str, Any], intent: Mapping[str, Any]) -> float:
    if intent["prefer"] == "price":
        return min(price["won"] / price["months"] for price in branch["prices"])
    if intent["prefer"] == "distance":
        return distance(branch, *intent["near"][:2])
    # A five-star branch with one review is not better than one of 4.6 with thirty: lower bound of the mean.
    ratings = branch["ratings"]
    mean = sum(ratings) / len(ratings) if ratings else 0.0
    return -(mean - 1.0 / math.sqrt(len(ratings))) if ratings else 0.0


def distance(branch: Mapping[str, Any], latitude: float, longitude: float) -> float:
    """Kilometres, on a flat map: exact enough for a city."""
    high = (branch["latitude"] - latitude) * 111.2
    wide = (branch["longitude"] - longitude) * 111.2 * math.cos(math.radians(latitude))
    return math.hypot(high, wide)


def is_open(hours: Mapping[str, Any] | None, moment: str) -> bool:
    """Whether hours hold at "sun 14:00"."""
    if hours is None:
        return True
    day, clock = moment.split()
    before = _DAYS[_DAYS.index(day) - 1]
    return any(start <= clock < (end if end > start else "24:00") for start, end in hours.get(day, ())) or any(
        end <= start and clock < end for start, end in hours.get(before, ())
    )


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain, gains 2^grade - 1 (Burges et al. 2005)."""
    gain = sum((2 ** grades.get(branch_id, 0) - 1) / math.log2(i + 2) for i, branch_id in enumerate(ranked[:depth]))
    ideal = sum(
        (2**value - 1) / math.log2(i + 2) for i, value in enumerate(sorted(grades.values(), reverse=True)[:depth])
    )
    return gain / ideal if ideal else 0.0
