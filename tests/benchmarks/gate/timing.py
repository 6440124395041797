"""Percentiles of repeated calls."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BARE = "bare model (detect + embed)"
"""The limit: what the model alone takes."""


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """P50 and P95 in milliseconds."""
    p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95])
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def timed(call: Callable[[], Any], repeats: int, warm_up: int = 3) -> list[float]:
    """Seconds of each of `repeats` calls, after some that do not count."""
    for _ in range(warm_up):
        call()
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        out.append(time.perf_counter() - start)
    return out
