"""Twice as many requests as can be answered, for a minute: what becomes of them, and of those that come after."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.api.measure import Server, closed, good, told, waited_ms
from tests.benchmarks.api.world import World
from tests.load_process import Outcome, Plan, run
from tests.results import sized

READS = [
    "own profile",
    "entries of a branch",
    "branch search",
    "branch profile",
    "helper's statement",
    "equipment overview",
]
CALM, TIMES, CONNECTIONS, MOST = 0.6, 2.0, 16, 1024
OPEN = sized(48, 192)
REFUSALS = (429, 503)
MOST_MS = {"refused": 50.0, "recovery": 5000.0}


def overload(world: World, server: Server, seconds: float, around: float, measured: float) -> dict[str, Any]:
    """Capacity in `measured` s; then CALM of it for `around` s, TIMES of it for `seconds`, CALM again.

    What is said of the time of overload is of requests that were due in it.
    """
    clock = world.clock()
    capacity = closed(server, world.callers(READS, CONNECTIONS), measured, clock)
    most = capacity["good_per_s"]
    rates = [(around, CALM * most), (seconds, TIMES * most), (2 * around, CALM * most)]
    callers = world.callers(READS, OPEN)
    clock.start()
    outcome = run(Plan(server.host, server.port, server.ca, callers, rates=rates, most=MOST))
    figures = told(outcome, clock)
    parts = {
        "before": (0.0, around),
        "during": (around, around + seconds),
        "after": (around + seconds, around * 3 + seconds),
    }
    by_part = {name: _part(outcome, *span) for name, span in parts.items()}
    return {
        "capacity_per_s": most,
        "capacity": capacity,
        "offered_per_s": round(TIMES * most, 1),
        "seconds": seconds,
        **by_part,
        "kept": round(by_part["during"]["good_per_s"] / most, 3),
        "recovery_ms": _recovery_ms(outcome, around + seconds, by_part["before"]["good"]["p95_ms"]),
        "cores": figures["cores"],
        "by_second": _by_second(outcome),
    }


def _part(outcome: Outcome, begin: float, end: float) -> dict[str, Any]:
    due, done = np.asarray(outcome.due), np.asarray(outcome.done)
    status, fine = np.asarray(outcome.status), good(outcome)
    within = (due >= begin) & (due < end)
    refused = within & np.isin(status, REFUSALS)
    other = within & ~fine & ~np.isin(status, REFUSALS)
    # Answers count in the second in which they come: what is answered when all is over has not kept anything going.
    came = fine & (done >= begin) & (done < end)
    return {
        "requests": int(within.sum()),
        "good_per_s": round(float(came.sum()) / (end - begin), 1),
        "good": waited_ms(outcome, within & fine),
        "refused_per_s": round(float(refused.sum()) / (end - begin), 1),
        "refused": waited_ms(outcome, refused),
        "others": int(other.sum()),
        "others_by_status": {str(s): int((status[other] == s).sum()) for s in np.unique(status[other])},
    }


def _recovery_ms(outcome: Outcome, over: float, usual_ms: float) -> float | None:
    """From the end of the overload to when the last of the requests that come in the usual number is refused, or waits for longer than
    twice the usual P95 and 20 ms: 1 in 20 may, as ever. None: until the end of what was measured more than that did."""
    due, fine = np.asarray(outcome.due), good(outcome)
    slow = ~fine | ((np.asarray(outcome.done) - due) * 1000 > 2 * usual_ms + 20)
    order = np.argsort(due)
    due, slow = due[order], slow[order]
    for begin in np.arange(over, due[-1] - 1, 0.1):
        rest = slow[due >= begin]
        first = slow[(due >= begin) & (due < begin + 1)]
        if len(first) and rest.mean() <= 0.05 and first.mean() <= 0.05:
            return round(float(begin - over) * 1000)
    return None


def _by_second(outcome: Outcome) -> dict[str, list[float]]:
    """Requests due, good answers, refusals and the rest by the second they came in; the slowest but one in 20 of good answers, in ms."""
    due, done = np.asarray(outcome.due), np.asarray(outcome.done)
    fine, refused = good(outcome), np.isin(np.asarray(outcome.status), REFUSALS)
    seconds = np.arange(int(np.ceil(done.max())))
    edges = np.append(seconds, seconds[-1] + 1)

    def each(times: Any) -> list[float]:
        return [int(count) for count in np.histogram(times, edges)[0]]

    def p95(kind: Any) -> list[float]:
        spent = (done - due) * 1000
        lots = [spent[kind & (done >= second) & (done < second + 1)] for second in seconds]
        return [round(float(np.percentile(lot, 95)), 1) if len(lot) else 0.0 for lot in lots]

    return {
        "offered": each(due),
        "good": each(done[fine]),
        "refused": each(done[refused]),
        "others": each(done[~fine & ~refused]),
        "good_p95_ms": p95(fine),
        "refused_p95_ms": p95(refused),
    }


def holds(result: dict[str, Any]) -> bool:
    """Whether it went as it should."""
    recovery, during = result["recovery_ms"], result["during"]
    return (
        result["kept"] >= 0.8
        and during["refused_per_s"] > 0
        and during["refused"]["p95_ms"] < MOST_MS["refused"]
        and not any(result[part]["others"] for part in ("before", "during", "after"))
        and recovery is not None
        and recovery <= MOST_MS["recovery"]
    )
