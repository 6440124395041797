"""A bound on requests of one kind at once, for those that take much memory or a second connection."""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from platform_api.core.errors import Problem

P = ParamSpec("P")
R = TypeVar("R")


class Turnstile:
    """Lets so many through at once, and tells the others to come again (503 `busy`).

    Args:
        number: how many, asked at the first request.
        detail_ko, detail_en: what the others are told.
        patience_s: how long they wait for a place before.
    """

    def __init__(self, number: Callable[[], int], detail_ko: str, detail_en: str, patience_s: float) -> None:
        self._number, self._details, self.patience_s = number, (detail_ko, detail_en), patience_s
        self._free: threading.BoundedSemaphore | None = None
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Ask for the number anew."""
        self._free = None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard a route."""

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._lock:
                free = self._free = self._free or threading.BoundedSemaphore(self._number())
            if not free.acquire(timeout=self.patience_s):
                raise Problem(503, "busy", *self._details, headers={"Retry-After": "1"})
            try:
                return function(*args, **kwargs)
            finally:
                free.release()

        return guarded
