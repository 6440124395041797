"""A gate node under load by HTTPS, and what the bare model takes for the same photos in the same minutes.

One client first: each answer as the client sees it, from the photo sent to the gate opened, with its stages as the node tells
them. The node and the bare model take turns, so that whatever else the machine does falls on both. Then 4 and 16 at once.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.gate.photos import folder
from tests.benchmarks.gate.stages import Dlib, Ours
from tests.benchmarks.gate.timing import BARE, percentiles
from tests.benchmarks.swap.crowd import Crowd
from tests.benchmarks.swap.world import Gate, gate
from tests.edge_world import PersonPhotos

TURN = 20
"""Answers, then as many photos by the bare model, and so on."""


@contextmanager
def before_all_else() -> Iterator[bool]:
    """The priority that `smartfit up` asks for its node (SCHED_RR), for this process and those it starts; False: not permitted.

    A gate has a machine of its own. Where the benchmark shares one, the node, the clients and the bare model all go first.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """P50, P95 and P99 in milliseconds."""
    return {**percentiles(seconds), "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 3)}


def photo_of(person: PersonPhotos) -> Path:
    """The file of the photo that the person shows."""
    return min((folder() / person.name).glob("*.jpg"))


def alone(door: Gate, shown: list[PersonPhotos], looks: int) -> dict[str, Any]:
    """One client, the bare model and dlib in turns: times of each, stages, what failed or was wrong."""
    kiosk, ours, peer = door.kiosk(), Ours(), Dlib()
    for person in shown[:10]:
        kiosk.face(person.probe)
        ours.vector(photo_of(person))
    ours.stages.clear()
    people = itertools.cycle(shown)
    taken: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    failed = wrong = 0
    while len(taken) + failed < looks:
        turn = list(itertools.islice(people, TURN))
        for person in turn:
            begun = time.perf_counter()
            answer = kiosk.call("POST", "/frames", data=person.probe, headers={"Content-Type": "image/jpeg"})
            seconds = time.perf_counter() - begun
            if answer.status_code != 200:
                failed += 1
                continue
            said = answer.json()
            wrong += said["member_id"] != person.name or said["gate"] != "opened"
            taken.append(seconds)
            for stage, milliseconds in said["stages_ms"].items():
                stages[stage].append(milliseconds / 1e3)
        for person in turn:
            ours.vector(photo_of(person))
        for person in turn[:4]:
            peer.vector(photo_of(person))
    return {
        "level": {
            "clients": 1,
            "answers": len(taken),
            "per_s": round(len(taken) / sum(taken), 1),
            "failed": failed,
            "wrong": wrong,
            **summary(taken),
        },
        "stages": {name: summary(seconds) for name, seconds in stages.items() if any(seconds)},
        "bare": {name: summary(seconds) for name, seconds in ours.stages.items()},
        "dlib": {name: summary(seconds) for name, seconds in peer.stages.items()},
    }


def crowded(door: Gate, shown: list[PersonPhotos], clients: int, seconds: float) -> dict[str, Any]:
    """So many who show a face, wait, and show the next; the first two seconds do not count."""
    with Crowd(door, shown, clients, 0.0) as crowd:
        time.sleep(2.0)
        begun = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
    answers = crowd.between(begun, ended)
    return {
        "clients": clients,
        "answers": len(answers),
        "per_s": round(sum(begun <= a.asked_at + a.seconds < ended for a in crowd.answers) / (ended - begun), 1),
        "failed": sum(answer.failed for answer in crowd.answers),
        "wrong": sum(answer.wrong for answer in crowd.answers),
        **summary([answer.seconds for answer in answers]),
    }


def measure(members: int, nobody: int, looks: int, crowds: Sequence[int], seconds: float) -> dict[str, Any]:
    """All of it. Only who is recognised when nobody else is there is shown: what load changes is the gate's own doing."""
    with before_all_else() as first, gate(members, nobody) as (door, everyone):
        kiosk = door.kiosk()
        found = {person.name: kiosk.face(person.probe)["member_id"] for person in everyone}
        shown = [person for person in everyone if found[person.name] == person.name]
        print(f"{len(shown)} of {members} people are recognised; one client", file=sys.stderr)
        single = alone(door, shown, looks)
        levels = [single.pop("level")]
        for clients in crowds:
            print(f"{clients} clients", file=sys.stderr)
            levels.append(crowded(door, shown, clients, seconds))
    return {
        "gallery": members + nobody,
        "people_shown": len(shown),
        "taken_for_another": sum(name not in (None, member) for member, name in found.items()),
        "real_time_priority": first,
        "levels": levels,
        **single,
    }


def bare_ratio(speed: dict[str, Any], percentile: str) -> float:
    """How many times the bare model's time an answer takes at one client."""
    return round(float(speed["levels"][0][percentile] / speed["bare"][BARE][percentile]), 3)
