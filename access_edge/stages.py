"""How long each stage from frame to log took, for the answer, the log and the metrics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from access_edge import metrics

NAMES = ("decode", "detect", "quality", "liveness", "embed", "search", "authorize", "gate", "log")


class Stages:
    """Stage times of one answer. Stages may overlap, so their sum may exceed the total."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds = dict.fromkeys(NAMES, 0.0)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what is done inside; several times add up."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add to a stage."""
        self._seconds[name] += seconds

    def milliseconds(self) -> dict[str, float]:
        """All stages and the total so far, in ms."""
        total = time.perf_counter() - self._started
        return {name: round(value * 1000, 3) for name, value in (*self._seconds.items(), ("total", total))}

    def observe(self) -> None:
        """Tell the metrics; stages that did not happen are left out."""
        for name, value in (*self._seconds.items(), ("total", time.perf_counter() - self._started)):
            if value:
                metrics.STAGE.labels(name).observe(value)
