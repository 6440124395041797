"""A thread that does one thing again and again, and is not stopped by one failure."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Loop:
    """Calls `step` every `interval` seconds; after failures it waits longer, with jitter, up to `longest`.

    step: returns the seconds to wait before the next call, or None for `interval`. Exceptions are logged, by name
    alone: their text could carry what must not be logged.
    """

    def __init__(self, name: str, step: Callable[[], float | None], interval: float, longest: float = 30.0) -> None:
        self.name = name
        self._step = step
        self._interval = interval
        self._longest = longest
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.failures = 0

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Do the next step now."""
        self._wake.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin to end: there is no step after the present one."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float = 5.0) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                wait = self._step()
                self.failures = 0
            except Exception as error:
                self.failures += 1
                wait = min(self._longest, self._interval * 2 ** min(self.failures, 10))
                log.warning(
                    "background_step_failed", loop=self.name, error=type(error).__name__, failures=self.failures
                )
            # Jitter, so that the nodes of a chain do not come back all at once.
            pause = (self._interval if wait is None else wait) * random.uniform(0.8, 1.2)  # noqa: S311
            self._wake.wait(pause)
