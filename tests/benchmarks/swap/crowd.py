"""People at the gate for the whole time: each client shows a face, waits for the answer, and shows the next."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import requests

from tests.benchmarks.swap.world import Gate
from tests.edge_world import PersonPhotos


@dataclass(frozen=True)
class Answer:
    """What a client got. wrong: somebody who is known was not recognised, or taken for another."""

    asked_at: float
    seconds: float
    failed: bool
    wrong: bool
    version: str | None


class Crowd:
    """`clients` threads, from `with` to the end of it."""

    def __init__(self, gate: Gate, shown: list[PersonPhotos], clients: int, pause: float) -> None:
        self._gate = gate
        self._shown = itertools.cycle(shown)
        self._pause = pause
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(clients)]
        self.answers: list[Answer] = []
        self.refusals: Counter[str] = Counter()

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def between(self, start: float, end: float) -> list[Answer]:
        """Those asked for in that time (time.monotonic)."""
        return [answer for answer in self.answers if start <= answer.asked_at < end]

    def _visit(self) -> None:
        kiosk = self._gate.kiosk()
        while not self._stop.is_set():
            with self._lock:
                person = next(self._shown)
            started = time.monotonic()
            failed, wrong, version = True, False, None
            try:
                told = kiosk.call(
                    "POST", "/frames", data=person.probe, headers={"Content-Type": "image/jpeg"}, timeout=60
                )
                failed = told.status_code != 200
                if failed:
                    self.refusals[f"{told.status_code}"] += 1
                else:
                    said = told.json()
                    version = said["model_version"]
                    wrong = said["member_id"] != person.name
                    if said["decision"] != "granted":
                        self.refusals[said["reason"]] += 1
            except requests.RequestException as error:
                self.refusals[type(error).__name__] += 1
            self.answers.append(Answer(started, time.monotonic() - started, failed, wrong, version))
            self._stop.wait(self._pause)


def p99_ms(answers: list[Answer]) -> float:
    """Of the answers' times, as the clients saw them."""
    return round(float(np.percentile([1000 * answer.seconds for answer in answers], 99)), 1)
