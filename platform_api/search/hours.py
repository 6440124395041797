"""Opening hours: open at a moment, and at which hours of the week.

Hours are {"mon": [["06:00", "23:00"], ...], ...} by the branch's clock, or None for a branch that never closes. A range
whose end is not after its start ends on the next day; a day left out is closed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK = 7 * 24 * 60
_FALLBACK = "Asia/Seoul"

Hours = Mapping[str, Sequence[Sequence[str]]] | None


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The time zone; one that is not known counts as Korea's, so that an odd branch is still found."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo(_FALLBACK)


def minute_of_week(moment: datetime, zone_name: str) -> int:
    """Minutes since Monday 0:00 by the clock of the zone."""
    there = moment.astimezone(zone(zone_name))
    return there.weekday() * 1440 + there.hour * 60 + there.minute


def ranges(hours: Hours) -> list[tuple[int, int]]:
    """Open times as minutes of the week, end excluded; one that ends after Sunday ends beyond WEEK."""
    if hours is None:
        return [(0, WEEK)]
    found = []
    for day, name in enumerate(DAYS):
        for start, end in hours.get(name, ()):
            first, last = day * 1440 + _minutes(start), day * 1440 + _minutes(end)
            found.append((first, last if last > first else last + 1440))
    return found


def is_open(hours: Hours, minute: int) -> bool:
    """Whether it is open in that minute of the week."""
    return hours is None or any(start <= m < end for start, end in ranges(hours) for m in (minute, minute + WEEK))


def never_closes(hours: Hours) -> bool:
    """Whether it is open all week long."""
    if hours is None:
        return True
    reached = 0
    for start, end in sorted(ranges(hours)):
        if start > reached:
            return False
        reached = max(reached, end)
    return reached >= WEEK


def slots(hours: Hours) -> list[int]:
    """Hours of the week (0 is Monday 0 h) in which it is open at some time; none for a branch that never closes."""
    if never_closes(hours):
        return []
    return sorted({minute // 60 % 168 for start, end in ranges(hours) for minute in (*range(start, end, 60), end - 1)})


def opens_all(hours: Hours, wanted: Sequence[int]) -> bool:
    """Whether it is open in the middle of each of these hours of the week."""
    return all(is_open(hours, slot * 60 + 30) for slot in wanted)


def _minutes(clock: str) -> int:
    hour, _, minute = clock.partition(":")
    return int(hour) * 60 + int(minute)


def readable(hours: Any) -> bool:
    """Whether hours can be read at all; what another domain sends is checked before it is kept."""
    try:
        ranges(hours)
    except (AttributeError, TypeError, ValueError):
        return False
    return True
