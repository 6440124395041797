"""Whom the cache of the gallery holds: the members likeliest to come at this hour of the week.

FPIR grows with the gallery, so the cache is bounded. People keep to habits, and they come or they do not: the likelihood of a
member is the number of visits to be expected in the hour, had from the past ones, each of which fades with its age (half gone
in eight weeks). A part of each tells of its own hour of the week and the neighbours, the rest of any hour, by the branch's
own shape of the week. `make bench NAME=gate` plays a day through it, beside the best that could be known. Members with a valid
right come before those without, so that a new member who never came is still in it while there is room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

HOURS = 168
HALF_LIFE = timedelta(weeks=8)
# Most who may come do so seldom: of 16 weeks in place of 26 the cache learns too little of them (half a point to a point of hit rate).
HORIZON = timedelta(weeks=26)
# Of a visit's part that tells of an hour: how much of it, by distance in hours. One hour on both sides: sums to 1.
_NEAR = {0: 0.6, 1: 0.2}
# The part of a visit that may as well have been at any other hour.
_ANY_HOUR = 0.4


def hour_of_week(at: datetime, tz: ZoneInfo) -> int:
    """0 (Monday, midnight to one) to 167, by the branch's clock."""
    local = at.astimezone(tz)
    return local.weekday() * 24 + local.hour


def likelihoods(visits: Iterable[tuple[str, int, datetime]], hour: int, now: datetime) -> dict[str, float]:
    """How likely each member of `visits` (member, hour of the week, moment) is to come in hour `hour`; not normalised."""
    counts: dict[str, float] = defaultdict(float)
    habits: dict[str, float] = defaultdict(float)
    week = [1.0] * HOURS
    for member_id, visit_hour, at in visits:
        weight = 0.5 ** (max(timedelta(), now - at) / HALF_LIFE)
        counts[member_id] += weight
        week[visit_hour] += weight
        distance = abs(visit_hour - hour)
        near = _NEAR.get(min(distance, HOURS - distance))
        if near is not None:
            habits[member_id] += weight * near
    around = sum(week[(hour + away) % HOURS] for away in (-1, 0, 1)) / 3
    share = _ANY_HOUR * around / sum(week)
    return {member: share * count + (1 - _ANY_HOUR) * habits.get(member, 0.0) for member, count in counts.items()}


def choose(
    members: Collection[str], likelihood: dict[str, float], entitled: Collection[str], capacity: int
) -> frozenset[str] | None:
    """The members for the cache, or None where all fit.

    Args:
        entitled: those with a right to enter this branch.
    """
    if len(members) <= capacity:
        return None
    ranked = sorted(members, key=lambda m: (m not in entitled, -likelihood.get(m, 0.0), m))
    return frozenset(ranked[:capacity])
