"""The one place that tells the time, so that tests can travel and a gate node can correct its clock."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_offset = timedelta()


def now() -> datetime:
    """The present moment, timezone-aware, in UTC."""
    return datetime.now(UTC) + _offset


@contextlib.contextmanager
def travel(delta: timedelta) -> Iterator[None]:
    """Shift `now` by `delta` for the whole process while the context lasts."""
    global _offset
    before = _offset
    _offset = before + delta
    try:
        yield
    finally:
        _offset = before
