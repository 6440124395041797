"""Whom the cache of the gallery holds: the members likeliest to come at this hour of the week.

FPIR grows with the gallery, so the cache is bounded. People keep to habits: the likelihood of a member is the sum over
past visits of an exponential decay in age (half gone in four weeks), counted fully at the same hour of the week, less
at its neighbours, a little at any other; and a share for having been here lately. Members with a valid right come
before those without, so that a new member who never came is still in it while there is room.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

HOURS = 168
HALF_LIFE = timedelta(weeks=4)
HORIZON = timedelta(weeks=16)
# Weight by distance in hours from the hour asked for; farther away a visit still tells that the member comes at all.
_NEAR = {0: 1.0, 1: 0.5, 2: 0.2}
_ANY_HOUR = 0.02
_RECENT = 0.5
_RECENT_DAYS = 14.0


def hour_of_week(at: datetime, tz: ZoneInfo) -> int:
    """0 (Monday, midnight to one) to 167, by the branch's clock."""
    local = at.astimezone(tz)
    return local.weekday() * 24 + local.hour


def likelihoods(visits: Iterable[tuple[str, int, datetime]], hour: int, now: datetime) -> dict[str, float]:
    """How likely each member of `visits` (member, hour of the week, moment) is to come in hour `hour`; not normalised."""
    weights: dict[str, float] = defaultdict(float)
    last: dict[str, datetime] = {}
    for member_id, visit_hour, at in visits:
        distance = abs(visit_hour - hour)
        distance = min(distance, HOURS - distance)
        decay = 0.5 ** (max(timedelta(), now - at) / HALF_LIFE)
        weights[member_id] += decay * _NEAR.get(distance, _ANY_HOUR)
        last[member_id] = max(last.get(member_id, at), at)
    for member_id, at in last.items():
        weights[member_id] += _RECENT * math.exp(-max(0.0, (now - at) / timedelta(days=1)) / _RECENT_DAYS)
    return dict(weights)


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
