"""Answers that are kept for a few seconds: in Redis, so that any process may give them again, else in the process."""

import threading
import time
from collections import OrderedDict

from platform_api.core.cache.shared import REQUESTS, Away, SharedCache, key_of

MOST = 1000
"""Kept in a process, the least used go first."""


class KeptAnswers:
    """Answers (bytes) by question. Losing one costs no more than answering again."""

    def __init__(self, name: str, seconds: float, cache: SharedCache | None) -> None:
        self.name, self.seconds, self._cache = name, seconds, cache
        self._here: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, *question: str) -> bytes | None:
        """The answer to the same question, if it is no older than `seconds`."""
        key = key_of(self.name, *question)
        if self._cache is not None:
            try:
                found: bytes | None = self._cache.ask(self.name, lambda redis: redis.get(key), looked_for=True)  # type: ignore[assignment]
                return found
            except Away:
                pass
        with self._lock:
            until, answer = self._here.get(key, (0.0, b""))
            good = until > time.monotonic()
            if good:
                self._here.move_to_end(key)
        REQUESTS.labels(self.name, "hit" if good else "miss").inc()
        return answer if good else None

    def put(self, answer: bytes, *question: str) -> None:
        """Keep an answer."""
        if self.seconds <= 0:
            return
        key = key_of(self.name, *question)
        if self._cache is not None:
            try:
                self._cache.ask(self.name, lambda redis: redis.set(key, answer, px=int(self.seconds * 1000)))
                return
            except Away:
                pass
        with self._lock:
            self._here[key] = time.monotonic() + self.seconds, answer
            self._here.move_to_end(key)
            while len(self._here) > MOST:
                self._here.popitem(last=False)
