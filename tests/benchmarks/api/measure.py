"""Rounds of load, told as figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.capacity.processor import Clock
from tests.load_process import Caller, Outcome, Plan, run


@dataclass(frozen=True)
class Server:
    """Where requests go. `ca` None: plain HTTP."""

    host: str
    port: int
    ca: str | None


def good(outcome: Outcome) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the answers are."""
    status = np.asarray(outcome.status)
    return (status >= 200) & (status < 300)


def waited_ms(outcome: Outcome, kind: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> dict[str, float]:
    """Quantiles of the time from when a request was due to its whole answer."""
    spent = (np.asarray(outcome.done) - np.asarray(outcome.due)) * 1000
    chosen = spent if kind is None else spent[kind]
    if not len(chosen):
        return {}
    return {f"p{level}_ms": round(float(np.percentile(chosen, level)), 2) for level in (50, 95, 99)}


def told(outcome: Outcome, clock: Clock) -> dict[str, Any]:
    """A round's figures; cores: of which each has used how many."""
    fine = good(outcome)
    used, _ = clock.spent()
    cores = {name: round(seconds / outcome.elapsed_s, 2) for name, seconds in used.items()}
    others = Counter(str(status) for status, ok in zip(outcome.status, fine, strict=True) if not ok)
    return {
        "requests": len(fine),
        "good_per_s": round(float(fine.sum()) / outcome.elapsed_s, 1),
        **waited_ms(outcome, fine),
        "others": dict(others),
        "cores": {**cores, "client": round(outcome.processor_s / outcome.elapsed_s, 2)},
    }


def closed(server: Server, callers: list[Caller], seconds: float, clock: Clock) -> dict[str, Any]:
    """As much as they can."""
    plan = Plan(server.host, server.port, server.ca, callers, seconds)
    clock.start()
    return told(run(plan), clock)


def offered(server: Server, callers: list[Caller], seconds: float, rate: float, clock: Clock) -> dict[str, Any]:
    """So many a second. No connections beside the callers': a second one of a caller would renew a session with a token that is used
    up, which ends it."""
    plan = Plan(server.host, server.port, server.ca, callers, rates=[(seconds, rate)], most=len(callers))
    clock.start()
    return {"offered_per_s": round(rate, 1), **told(run(plan), clock)}


def levels(
    server: Server, made: Callable[[int], list[Caller]], seconds: float, connections: int, clock: Clock
) -> dict[str, Any]:
    """A call at one connection, at as many as saturate, and at 70 % of that. `made`: so many callers."""
    closed(server, made(connections), seconds / 4, clock)  # warms up what keeps caches
    one = closed(server, made(1), seconds, clock)
    saturated = closed(server, made(connections), seconds, clock)
    busy = offered(server, made(connections), seconds, max(1.0, 0.7 * saturated["good_per_s"]), clock)
    return {"one": one, "saturated": saturated, "busy": busy}
