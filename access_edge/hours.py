"""Weekly hours in a branch's own time: over midnight, and right when the clocks change.

A week is {"mon": [["06:00", "23:00"], ...], ...}; None is around the clock; a day that is not named is closed. A
range whose end is not after its start ends on the next day; "24:00" is midnight at a day's end. Times are wall-clock
times: a door marked 23:00 closes when the branch's clock says 23:00, also on the night the clocks change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Week = Mapping[str, Sequence[Sequence[str]]]
_DAY = 24 * 60


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The time zone `name` (IANA). Raises ValueError for a name that is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no such time zone: {name!r}") from error


@lru_cache(maxsize=1024)
def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    value = int(hour) * 60 + int(minute)
    if not (0 <= value <= _DAY and 0 <= int(minute) < 60):
        raise ValueError(f"not a time of day: {text!r}")
    return value


def within(week: Week | None, at: datetime, tz: ZoneInfo) -> bool:
    """Whether the aware moment `at` lies within `week`; the start is inside, the end is not.

    Raises ValueError for a time of day that is none.
    """
    if week is None:
        return True
    local = at.astimezone(tz)
    minute = local.hour * 60 + local.minute
    today, yesterday = DAYS[local.weekday()], DAYS[(local.weekday() - 1) % 7]
    for start_text, end_text in week.get(today, ()):
        start, end = _minutes(start_text), _minutes(end_text)
        if start <= minute and (end <= start or minute < end):
            return True
    for start_text, end_text in week.get(yesterday, ()):
        start, end = _minutes(start_text), _minutes(end_text)
        if end <= start and minute < end:
            return True
    return False


def check_week(week: Week | None) -> None:
    """Raises ValueError where `week` is not as the module says."""
    for day, ranges in (week or {}).items():
        if day not in DAYS:
            raise ValueError(f"no such day: {day!r}")
        for bounds in ranges:
            if len(bounds) != 2:
                raise ValueError(f"not a range: {bounds!r}")
            for bound in bounds:
                _minutes(bound)


def parse_moment(text: str, tz: ZoneInfo, end: bool = False) -> datetime:
    """A moment from RFC 3339, or from a date: its first moment in `tz`, or with `end` the first moment after it.

    Raises ValueError for what is neither.
    """
    if len(text) == 10:
        day = date.fromisoformat(text) + timedelta(days=1 if end else 0)
        return datetime.combine(day, time(), tz).astimezone(UTC)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=tz)).astimezone(UTC)
