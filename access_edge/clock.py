"""The node's own clock may be wrong; rules and passes go by the centre's time, learnt at every contact.

The offset is kept in the replica, so that a node that restarts with the network gone still knows it. A node with a
good clock has an offset of a few milliseconds, which is not told apart from the road's delay and left alone.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from platform_api.core import clock

# Below this the difference is the network's delay and the feed's rounding, not the clock.
NOTICEABLE = timedelta(seconds=2)


class LearntClock:
    """Time as the centre tells it: the local clock plus the offset learnt last."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self._offset = offset
        self._lock = threading.Lock()

    @property
    def offset(self) -> timedelta:
        """What is added to the local clock."""
        return self._offset

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return clock.now() + self._offset

    def learn(self, centre_now: datetime, sent: datetime, received: datetime) -> bool:
        """Take in the centre's time; `sent` and `received` are local times around the request (Cristian 1989).

        Returns:
            whether the offset changed noticeably, so that it should be kept.
        """
        middle = sent + (received - sent) / 2
        offset = centre_now - middle
        with self._lock:
            changed = abs(offset - self._offset) > NOTICEABLE
            if changed:
                self._offset = offset if abs(offset) > NOTICEABLE else timedelta()
            return changed
