"""Cores that processes share: work is done in short slices, so that a long one does not keep the others out."""

from collections.abc import Generator
from typing import Any

import simpy

SLICE_S = 0.002
"""About what Linux gives a process before another has its turn, where some wait (sched_min_granularity)."""

Process = Generator[Any, Any, Any]


class Machine:
    """`cores` that all who work on this machine share."""

    def __init__(self, env: simpy.Environment, cores: int) -> None:
        self.env, self.cores = env, simpy.Resource(env, cores)
        self.worked_s = 0.0

    def work(self, seconds: float) -> Process:
        """Seconds of a core, waiting for one where all are busy."""
        left = seconds
        while left > 0.0:
            part = min(left, SLICE_S)
            with self.cores.request() as turn:
                yield turn
                yield self.env.timeout(part)
            self.worked_s += part
            left -= part
