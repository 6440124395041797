"""How far something is, told into a run's log: every few seconds and not more often."""

import time
from collections.abc import Callable

Tell = Callable[[str], None]
EVERY_S = 4.0


class Now:
    """Tells how far something is."""

    def __init__(self, tell: Tell, what: str) -> None:
        self._tell, self._what, self._next = tell, what, 0.0

    def __call__(self, done: int, of: int | None = None) -> None:
        """of: how many there are; None where that is not known."""
        if time.monotonic() >= self._next or done == of:
            self._next = time.monotonic() + EVERY_S
            self._tell(f"{self._what} {done}" + (f"/{of}" if of is not None else ""))
