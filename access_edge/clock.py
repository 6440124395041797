"""The node's own clock may be wrong, or set while it runs; rules and passes go by the centre's time, learnt at every contact.

What the centre told is carried on by the time that has gone by since, which nobody sets: a clock that is set an hour ahead
while the network is gone would otherwise turn every pass away. How far the local clock is off is kept in the replica, so
that a node that restarts with the network gone still knows it. A node with a good clock has an offset of a few milliseconds,
which is not told apart from the road's delay and left alone.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from platform_api.core import clock

# Below this the difference is the network's delay and the feed's rounding, not the clock.
NOTICEABLE = timedelta(seconds=2)


class LearntClock:
    """Time as the centre told it last. Before the first contact: the local clock plus the offset that was kept."""

    def __init__(self, offset: timedelta = timedelta(), not_before: datetime | None = None) -> None:
        """not_before: a moment that has certainly gone by; a machine without a battery wakes up in the past."""
        if not_before is not None:
            offset = max(offset, not_before - clock.now())
        self._offset = offset
        # A moment and when that was, in `clock.elapsed`.
        self._known: tuple[datetime, float] | None = None
        self._lock = threading.Lock()

    @property
    def offset(self) -> timedelta:
        """By how much the local clock is behind, in whole milliseconds."""
        return timedelta(milliseconds=round((self.now() - clock.now()) / timedelta(milliseconds=1)))

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        if self._known is None:
            return clock.now() + self._offset
        moment, then = self._known
        return moment + timedelta(seconds=clock.elapsed() - then)

    def learn(self, centre_now: datetime, sent: float, received: float) -> bool:
        """Take in the centre's time; `sent` and `received`: `clock.elapsed` around the request (Cristian 1989).

        Returns:
            whether our time changed noticeably.
        """
        with self._lock:
            ago = timedelta(seconds=clock.elapsed() - (sent + received) / 2)
            local, ours = clock.now() - ago, self.now() - ago
            changed = abs(centre_now - ours) > NOTICEABLE
            good = abs(centre_now - local) <= NOTICEABLE
            if changed or good or self._known is None:
                self._known = (local if good else centre_now if changed else ours, (sent + received) / 2)
            return changed
