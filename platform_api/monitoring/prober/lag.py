"""Whether this process itself was late: then a missed deadline says something about us, not about the item."""

import time

import gevent

_EVERY_S = 0.05


class Lag:
    """A greenlet that sleeps, and notes how much later than wanted it woke up."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    def run(self) -> None:
        """Measure until killed."""
        while True:
            begun = time.monotonic()
            gevent.sleep(_EVERY_S)
            now = time.monotonic()
            self.note(now, now - begun - _EVERY_S)

    def note(self, at: float, late: float) -> None:
        """At `at`, the process was `late` seconds late."""
        if late > _EVERY_S:
            self._late = [(when, most) for when, most in self._late[-100:] if when > at - 60.0]
            self._late.append((at, late))

    def since(self, begun: float) -> float:
        """The most that it was late since `begun` (monotonic)."""
        return max((late for at, late in self._late if at >= begun), default=0.0)
