"""A bound on enrolments at once, so that they never take all threads of a process."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from platform_api.auth.settings import settings
from platform_api.core.errors import Problem

P = ParamSpec("P")
R = TypeVar("R")


class Turnstile:
    """Lets so many through at once, and tells the others to come again (503 `busy`).

    An enrolment takes tens of megabytes and some tenths of a second of a core, and then asks access, which may be served
    by the threads of this very process: enrolments must never take all of them.
    """

    def __init__(self, patience_s: float = 0.5) -> None:
        self.patience_s = patience_s
        self._free: threading.BoundedSemaphore | None = None
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Take the number from the settings anew."""
        self._free = None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard a route."""

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._lock:
                free = self._free = self._free or threading.BoundedSemaphore(settings().face_enrolments_at_once)
            if not free.acquire(timeout=self.patience_s):
                raise Problem(
                    503,
                    "busy",
                    "지금 얼굴 등록이 몰려 있습니다. 잠시 후 다시 시도하세요.",
                    "Many faces are being enrolled just now; try again in a moment.",
                    headers={"Retry-After": "1"},
                )
            try:
                return function(*args, **kwargs)
            finally:
                free.release()

        return guarded


enrolments = Turnstile()
