"""The counts of requests in a process: no thread for any of them, and old ones are forgotten."""

import threading
import time

import pytest

from platform_api.core.cache import RateLimit
from platform_api.core.cache.limits import SWEEP_S, Counts


def test_counting_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit("test", 5, None)

    def refuse(_: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [limit.take("one") for _ in range(5)] == [0.0] * 5
    assert limit.take("one") >= 1.0
    assert limit.take("another") == 0.0


def test_old_counts_are_forgotten_and_young_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, real, steady = Counts(), time.time, time.monotonic
    for number in range(100):
        counts.incr(f"old-{number}", 20)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + SWEEP_S)
    monkeypatch.setattr(time, "time", lambda: real() + 19)
    assert counts.incr("young", 60) == 1
    assert len(counts.storage) == len(counts.locks) == 101
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 2 * SWEEP_S)
    monkeypatch.setattr(time, "time", lambda: real() + 21)
    assert counts.incr("young", 60) == 2
    assert set(counts.storage) == set(counts.expirations) == {"young"}
