"""The connection to Redis: optional, impatient, and behind a breaker.

A Redis that is dead or hangs must cost its callers nothing: time-outs are a fraction of a second, and after a few failures
in a row nobody asks any more, but for one call every second, which finds out when it is back.
"""

import functools
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import redis
import structlog
from prometheus_client import Counter, Gauge
from pydantic import Field, SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from platform_api.core.settings import Settings, SettingsError, load

log = structlog.get_logger(__name__)

T = TypeVar("T")

REQUESTS = Counter(
    "smartfit_cache_requests_total",
    "What came of asking: hit or miss where something was looked for, done, error, skipped (the breaker is open)",
    ["cache", "outcome"],
)
OPEN = Gauge("smartfit_cache_breaker_open", "1 while Redis is not asked", multiprocess_mode="livemax")
PREFIX = "smartfit"


class CacheSettings(Settings):
    """Settings of the shared cache."""

    redis_url: SecretStr | None = Field(
        default=None, description="redis:// or rediss://; none: every process by itself."
    )
    redis_password: SecretStr | None = Field(default=None, description="Where it does not stand in the URL.")
    redis_ca_file: Path | None = Field(default=None, description="CA of a Redis by rediss://; the system's if unset.")
    redis_timeout_s: float = Field(default=0.1, gt=0, le=5.0, description="To connect, and for an answer.")


class Away(Exception):
    """Redis did not answer, or is not asked for the moment."""


class Breaker:
    """Lets no call through after `failures` in a row, but for one every `retry_s` seconds.

    Not pybreaker, which lets a whole crowd try a service again once its pause is over: here it is one call each time.
    """

    def __init__(self, failures: int, retry_s: float) -> None:
        self.failures, self.retry_s = failures, retry_s
        self._failed = 0
        self._retry_at = 0.0
        self._lock = threading.Lock()

    def may_call(self) -> bool:
        """Whether to call now."""
        if self._failed < self.failures:
            return True
        with self._lock:
            if time.monotonic() < self._retry_at:
                return False
            self._retry_at = time.monotonic() + self.retry_s
            return True

    def succeeded(self) -> None:
        """A call did."""
        if self._failed:
            self._set(0)

    def failed(self) -> None:
        """A call did."""
        self._set(self._failed + 1)

    def _set(self, failed: int) -> None:
        with self._lock:
            was_open, is_open = self._failed >= self.failures, failed >= self.failures
            self._failed = failed
            if is_open:
                self._retry_at = time.monotonic() + self.retry_s
        if is_open != was_open:
            OPEN.set(is_open)
            log.warning("cache_away" if is_open else "cache_back")


class SharedCache:
    """Redis; safe to share between threads."""

    def __init__(self, settings: CacheSettings) -> None:
        """Raises SettingsError where the URL is none."""
        assert settings.redis_url is not None
        url = settings.redis_url.get_secret_value()
        options: dict[str, object] = {
            "socket_timeout": settings.redis_timeout_s,
            "socket_connect_timeout": settings.redis_timeout_s,
            # A pooled connection may have died with its server: once more, on a new one. A time-out is not tried again.
            "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        }
        if settings.redis_password:
            options["password"] = settings.redis_password.get_secret_value()
        if settings.redis_ca_file:
            options["ssl_ca_certs"] = str(settings.redis_ca_file)
        try:
            self.pool = redis.ConnectionPool.from_url(url, **options)
            if settings.redis_ca_file and not issubclass(self.pool.connection_class, redis.SSLConnection):
                raise ValueError("SMARTFIT_REDIS_CA_FILE needs rediss://")
        except ValueError as error:
            # The message of the library holds the URL, and that the password.
            told = error if "SMARTFIT" in str(error) else "redis://[user:password@]host:6379/0"
            raise SettingsError(
                f"SMARTFIT_REDIS_URL: Redis 주소가 아닙니다 (not an address of Redis: {told})"
            ) from None
        self.redis = redis.Redis(connection_pool=self.pool)
        self.breaker = Breaker(failures=3, retry_s=1.0)

    def ask(self, cache: str, question: Callable[["redis.Redis"], T], *, looked_for: bool = False) -> T:
        """The answer of Redis to `question`.

        Args:
            cache: whose question it is, for the metrics.
            looked_for: an answer of None counts as a miss, another as a hit.

        Raises:
            Away: there was none.
        """
        if not self.breaker.may_call():
            REQUESTS.labels(cache, "skipped").inc()
            raise Away(cache)
        try:
            answer = question(self.redis)
        except redis.RedisError as error:
            self.breaker.failed()
            REQUESTS.labels(cache, "error").inc()
            log.debug("cache_failed", cache=cache, error=type(error).__name__)
            raise Away(cache) from error
        self.breaker.succeeded()
        REQUESTS.labels(cache, ("miss" if answer is None else "hit") if looked_for else "done").inc()
        return answer


@functools.cache
def shared() -> SharedCache | None:
    """The shared cache of this process; None where no Redis is set.

    Raises:
        SettingsError: a setting is wrong.
    """
    settings = load(CacheSettings)
    return SharedCache(settings) if settings.redis_url else None


def key_of(kind: str, *parts: str) -> str:
    """A key of ours. What it is about is hashed, so that no member, address or question can be read in Redis."""
    return f"{PREFIX}:{kind}:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"
