"""The one place that tells the time, so that tests can travel and a gate node can correct its clock."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_travelled = timedelta()
_set_by = timedelta()


def now() -> datetime:
    """The present moment, timezone-aware, in UTC, as the system's clock has it."""
    return datetime.now(UTC) + _travelled + _set_by


def elapsed() -> float:
    """Seconds since the machine started, asleep or not: setting the system's clock does not change them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) + _travelled.total_seconds()


@contextlib.contextmanager
def travel(delta: timedelta) -> Iterator[None]:
    """Have `delta` gone by, for the whole process while the context lasts."""
    global _travelled
    before = _travelled
    _travelled = before + delta
    try:
        yield
    finally:
        _travelled = before


@contextlib.contextmanager
def jump(delta: timedelta) -> Iterator[None]:
    """Set the system's clock by `delta`, no time having gone by, for the whole process while the context lasts."""
    global _set_by
    before = _set_by
    _set_by = before + delta
    try:
        yield
    finally:
        _set_by = before
