"""Quiet hours by a member's clock."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


def ends(now: datetime, timezone: str, start: str | None, end: str | None) -> datetime | None:
    """When the quiet hours end that `now` lies in; None where it lies in none.

    Args:
        start, end: HH:MM by the clock of `timezone`; an end that is not after the start lies on the next day. Times that a
            clock change skips or repeats are taken as zoneinfo does (PEP 495, fold 0).
    """
    if start is None or end is None or start == end:
        return None
    begins, until = time.fromisoformat(start), time.fromisoformat(end)
    local = now.astimezone(ZoneInfo(timezone))
    clock = local.time()
    inside = begins <= clock < until if begins < until else clock >= begins or clock < until
    if not inside:
        return None
    day = local.date() if clock < until else local.date() + timedelta(days=1)
    return datetime.combine(day, until, ZoneInfo(timezone)).astimezone(UTC)
