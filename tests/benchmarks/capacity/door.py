"""A gate node by itself and with a crowd: what an answer takes when one person comes at a time, and what a core is for it."""

import itertools
import time
from typing import Any

import numpy as np

from tests.benchmarks.capacity.processor import Clock
from tests.benchmarks.capacity.quantiles import milliseconds
from tests.benchmarks.swap.crowd import Crowd
from tests.benchmarks.swap.world import Gate, gate
from tests.edge_world import PersonPhotos
from tests.results import sized

CROWDS = (2, 8, 32)


def alone(door: Gate, shown: list[PersonPhotos], looks: int) -> dict[str, Any]:
    """One visitor after the other."""
    kiosk, process = door.kiosk(), door.process.process
    assert process is not None
    people = itertools.cycle(shown)
    for _ in range(10):
        kiosk.face(next(people).probe)
    used, taken = Clock({"node": [process.pid]}), []
    for _ in range(looks):
        begun = time.perf_counter()
        kiosk.face(next(people).probe)
        taken.append(time.perf_counter() - begun)
        time.sleep(0.02)
    return {
        "looks": looks,
        "answer_ms": milliseconds(taken),
        "processor_ms": round(1000 * used.spent()[0]["node"] / looks, 2),
    }


def crowded(door: Gate, shown: list[PersonPhotos], clients: int, seconds: float) -> dict[str, Any]:
    """So many who show a face, wait, and show the next."""
    with Crowd(door, shown, clients, 0.0) as crowd:
        time.sleep(sized(0.5, 3.0))
        begun = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
    answers = crowd.between(begun, ended)
    taken = [answer.seconds for answer in answers]
    return {
        "clients": clients,
        "per_s": round(sum(begun <= a.asked_at + a.seconds < ended for a in crowd.answers) / seconds, 1),
        "failed": sum(answer.failed for answer in answers),
        "p50_ms": round(1000 * float(np.percentile(taken, 50)), 1),
        "p95_ms": round(1000 * float(np.percentile(taken, 95)), 1),
        "p99_ms": round(1000 * float(np.percentile(taken, 99)), 1),
    }


def measure(members: int, nobody: int) -> dict[str, Any]:
    """All of it."""
    with gate(members, nobody) as (door, everyone):
        shown = [person for person in everyone if door.kiosk().face(person.probe)["member_id"] == person.name]
        return {
            "gallery": members + nobody,
            "package_bytes": len(door.archive),
            "alone": alone(door, shown, sized(20, 300)),
            "crowds": [crowded(door, shown, clients, sized(1.0, 15.0)) for clients in CROWDS],
        }
