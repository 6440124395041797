"""What each kind of process takes of the machine: cores, and memory."""

import time

import psutil


class Usage:
    """Of processes and their children, by a name; from here on."""

    def __init__(self, processes: dict[str, list[int]]) -> None:
        self._processes = {name: [psutil.Process(pid) for pid in pids] for name, pids in processes.items()}
        self._begun, self._spent = time.monotonic(), self._seconds()

    def cores(self) -> dict[str, float]:
        """Processor seconds a second since the beginning."""
        passed, now = time.monotonic() - self._begun, self._seconds()
        return {name: round((now[name] - self._spent[name]) / passed, 4) for name in now}

    def memory_mb(self) -> dict[str, float]:
        """Resident memory now, in 10^6 bytes."""
        return {
            name: round(sum(process.memory_info().rss for process in self._family(name)) / 1e6, 2)
            for name in self._processes
        }

    def _seconds(self) -> dict[str, float]:
        return {name: sum(sum(process.cpu_times()[:2]) for process in self._family(name)) for name in self._processes}

    def _family(self, name: str) -> list[psutil.Process]:
        found = [p for process in self._processes[name] for p in (process, *process.children(recursive=True))]
        return [process for process in found if process.is_running()]
