"""Pure rules of a branch's description: opening hours, time zone, prices."""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from platform_api.core.errors import Problem

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STATUSES = ("open", "closed", "preparing")
MAX_RANGES = 6
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")


def check_zone(name: str) -> ZoneInfo:
    """The IANA time zone. Raises 422 `timezone_unknown`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Problem(
            422, "timezone_unknown", "없는 시간대입니다. 예: Asia/Seoul", "No such IANA time zone; try Asia/Seoul."
        ) from error


def check_week(week: Mapping[str, Any] | None) -> None:
    """Raise 422 `hours_invalid` unless `week` is {"mon": [["06:00", "23:00"], ...], ...} or None (around the clock).

    A range whose end is not after its start ends on the next day; a day left out is closed. Ranges of one day are in order
    and do not overlap, and only the last may run over midnight.
    """
    for day, ranges in (week or {}).items():
        if day not in DAYS or not isinstance(ranges, list) or len(ranges) > MAX_RANGES:
            raise _bad_hours(day)
        before = ""
        for bounds in ranges:
            if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(b, str) for b in bounds)):
                raise _bad_hours(day)
            start, end = bounds
            if not _TIME.fullmatch(start) or not _TIME.fullmatch(end) or start == "24:00" or start < before:
                raise _bad_hours(day)
            before = end if end > start else "~"


def check_prices(prices: list[dict[str, Any]]) -> None:
    """Raise 422 `prices_invalid` where a plan is named twice."""
    plans = [price["plan"] for price in prices]
    if len(plans) != len(set(plans)):
        raise Problem(422, "prices_invalid", "요금제 이름이 겹칩니다.", "A plan is named twice.")


def _bad_hours(day: str) -> Problem:
    return Problem(
        422,
        "hours_invalid",
        '시간표가 올바르지 않습니다. 예: {"mon": [["06:00", "23:00"]]}',
        f'Hours of {day[:20]!r}: expected ordered ranges such as {{"mon": [["06:00", "23:00"]]}}.',
    )
