"""How often somebody may ask, counted over all processes, whichever gateway the requests came through.

Counted in the process as well, always: when Redis goes, what was counted here is known, and the limit holds for each
process by itself until Redis is back.
"""

import threading
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from platform_api.core.cache.shared import PREFIX, Away, SharedCache, key_of

SWEEP_S = 10.0


class Counts(MemoryStorage):
    """Counts of this process. The library starts a thread with a timer to forget old ones, at nearly every request; here they are
    forgotten on the way, every SWEEP_S."""

    def __init__(self) -> None:
        super().__init__()
        self.timer = _NoTimer(0, lambda: None)
        self._sweep_at = time.monotonic() + SWEEP_S

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count; tells how many there are now."""
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_S
            for old, ends in list(self.expirations.items()):
                if ends <= time.time():
                    self.clear(old)
        return super().incr(key, expiry, amount)


class _NoTimer(threading.Timer):
    """Never started, and never to be."""

    def is_alive(self) -> bool:
        return True


class RateLimit:
    """`per_minute` times a minute for each who; 0 sets no limit. The window slides: no double portion on the minute."""

    def __init__(self, name: str, per_minute: int, cache: SharedCache | None) -> None:
        self.name = name
        self.item: RateLimitItem | None = RateLimitItemPerMinute(per_minute, namespace=name) if per_minute else None
        self._here = SlidingWindowCounterRateLimiter(Counts())
        self._cache = cache
        if cache is not None:
            self._everywhere = SlidingWindowCounterRateLimiter(
                RedisStorage("redis://", connection_pool=cache.pool, key_prefix=f"{PREFIX}:limits")
            )

    def take(self, who: str) -> float:
        """Count one. Returns 0 where it is within the limit, else the seconds until it may be tried again."""
        item, key = self.item, key_of("limit", self.name, who)
        if item is None:
            return 0.0
        if not self._here.hit(item, key):
            return self._wait(self._here.get_window_stats(item, key).reset_time)
        if self._cache is None:
            return 0.0
        everywhere = self._everywhere
        try:
            if self._cache.ask("limits", lambda _: everywhere.hit(item, key)):
                return 0.0
            return self._wait(self._cache.ask("limits", lambda _: everywhere.get_window_stats(item, key).reset_time))
        except Away:
            return 0.0

    @staticmethod
    def _wait(until: float) -> float:
        return max(1.0, until - time.time())
