"""A gate that has turned away too many faces goes without faces for a while; QR passes stay open.

Without this a stack of photographs could be tried one after the other. Times are monotonic: setting the clock back
does not lift a lockout, and a leap does not start one.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from access_edge.records import Lockout


class Lockouts:
    """Misses and lockouts of this node's gates, in memory: a restart takes longer than a lockout lasts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._misses: dict[str, deque[float]] = defaultdict(deque)
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def remaining(self, gate_id: str, rule: Lockout) -> float:
        """Seconds for which `gate_id` still goes without faces; 0 where it is open to them."""
        if not rule.enabled:
            return 0.0
        with self._lock:
            return max(0.0, self._until.get(gate_id, 0.0) - self._clock())

    def miss(self, gate_id: str, rule: Lockout) -> bool:
        """Note a face that was turned away; returns whether that starts a lockout."""
        if not rule.enabled:
            return False
        with self._lock:
            now = self._clock()
            misses = self._misses[gate_id]
            misses.append(now)
            while misses and misses[0] <= now - rule.window_s:
                misses.popleft()
            if len(misses) < rule.misses:
                return False
            misses.clear()
            self._until[gate_id] = now + rule.block_s
            return True
