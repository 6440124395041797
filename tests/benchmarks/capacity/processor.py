"""Processor time of families of processes, so that a step's cost is known apart from what else the machine does."""

import time
from collections.abc import Mapping

import psutil


class Clock:
    """Seconds of all cores that each family (a process and its children) has used since `start`."""

    def __init__(self, families: Mapping[str, list[int]]) -> None:
        self.families = families
        self.start()

    def start(self) -> None:
        """Count from now."""
        self._before, self._begun = self._used(), time.perf_counter()

    def spent(self) -> tuple[dict[str, float], float]:
        """(seconds of cores by family, seconds passed)."""
        now = self._used()
        return {name: now[name] - self._before[name] for name in now}, time.perf_counter() - self._begun

    def _used(self) -> dict[str, float]:
        return {name: sum(map(_family_seconds, pids)) for name, pids in self.families.items()}


def _family_seconds(pid: int) -> float:
    process = psutil.Process(pid)
    # A child that has ended since is counted in its parent's own figure.
    own = process.cpu_times()
    total: float = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
