"""Access tokens that end before their time: after signing out, a stolen refresh token, a suspension, a change of roles.

auth keeps what is revoked in its database for as long as such a token would live. Every process reads that list every
REFRESH_S seconds, and asks Redis at each request, where there is one; what either holds is refused. So with Redis a token
is refused by all processes at once, and without it, or while it is away, after REFRESH_S; when Redis goes the list is read at once. A process that could never read
the list lets nobody in; one that read it goes on with what it knows while auth is away.

A token is of a session (`sid`) and of a state of the member (`ver`, counted by auth). A session is revoked for good; of a
member, all tokens below a version are. The list holds hashes: it tells nobody who was signed out.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import requests
import structlog
from flask import current_app, has_app_context
from prometheus_client import Counter

from platform_api.core.cache import Away, key_of, shared
from platform_api.core.errors import Problem

log = structlog.get_logger(__name__)

REFUSED = Counter("smartfit_revoked_tokens_refused_total", "Requests with an access token that was revoked")
REFRESH_S = 2.0
"""Age at which the list is read again."""
WAIT_S = 10.0
"""Age at which a request waits until the list is read again, even when another is at it (the process was idle)."""
AGAIN_S = 0.5
"""How long after it could not be read nobody tries again, in a process that has none."""
OVERLAP_S = 90.0
"""The list is read from this long before the last reading: longer than a transaction lasts, so that none is missed."""
ALL = 2**62
"""Above every version."""
PATH = "/auth/internal/v1/revocations"
EXTENSION = "smartfit_revocations"


@dataclass(frozen=True)
class Revoked:
    """Tokens of `key` below version `least` are refused until Unix time `until`, when all of them have ended."""

    key: str
    least: int
    until: float


@dataclass(frozen=True)
class Reading:
    """What was revoked since the time that was asked for, and the Unix time of the answer."""

    at: float
    revoked: Iterable[Revoked]


def of_session(session_id: str) -> str:
    """The key of a session's tokens."""
    return key_of("revoked", "session", session_id)


def of_member(member_id: str) -> str:
    """The key of a member's tokens."""
    return key_of("revoked", "member", member_id)


class Revocations:
    """What this process knows to be revoked. `read(since)` asks whoever keeps the list; it raises where it cannot."""

    def __init__(self, read: Callable[[float], Reading]) -> None:
        self._read = read
        self._known: dict[str, Revoked] = {}
        self._since: float | None = None
        self._looked = float("-inf")
        self._lock = threading.Lock()
        self._keeping = threading.Lock()
        self._by_redis = False

    def refuses(self, claims: Mapping[str, object]) -> bool:
        """Whether a token with these claims was revoked.

        Raises:
            Problem: 503 `revocations_unknown`: the list could never be read.
        """
        self._refresh()
        version = claims.get("ver")
        # A token without a version is of a service, or of a release that gave none.
        asked = {of_member(str(claims["sub"])): version if isinstance(version, int) else 0}
        if "sid" in claims:
            asked[of_session(str(claims["sid"]))] = 0
        refused = self._holds(asked) or self._redis_holds(asked)
        if refused:
            REFUSED.inc()
        return refused

    def add(self, revoked: Revoked) -> None:
        """Know one more at once."""
        self._keep([revoked])

    def _holds(self, asked: Mapping[str, int]) -> bool:
        known = self._known
        return any(key in known and known[key].least > has for key, has in asked.items())

    def _redis_holds(self, asked: Mapping[str, int]) -> bool:
        cache = shared()
        if cache is None:
            return False
        try:
            found = cache.ask("revocations", lambda redis: redis.mget(list(asked)))
        except Away:
            # What it told until now, only the list can tell from here on, and that at once.
            with self._lock:
                if self._by_redis:
                    self._look()
                    self._by_redis = False
            return self._holds(asked)
        self._by_redis = True
        return any(least is not None and _number(least) > has for least, has in zip(found, asked.values(), strict=True))

    def _refresh(self) -> None:
        age = time.monotonic() - self._looked
        if self._since is None and age < AGAIN_S:
            raise _unknown()
        if self._since is not None and age < REFRESH_S:
            return
        # While somebody reads it, the others go on with the list as it was, unless there is none or it is too old.
        if not self._lock.acquire(blocking=self._since is None or age > WAIT_S):
            return
        try:
            if self._since is None or time.monotonic() - self._looked >= REFRESH_S:
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        try:
            reading = self._read(0.0 if self._since is None else self._since - OVERLAP_S)
            self._keep(reading.revoked)
            self._since = reading.at
        except Exception as error:
            log.warning("revocations_not_read", error=type(error).__name__)
            if self._since is None:
                raise _unknown() from error
        finally:
            self._looked = time.monotonic()

    def _keep(self, revoked: Iterable[Revoked]) -> None:
        with self._keeping:
            known = {key: kept for key, kept in self._known.items() if kept.until > time.time()}
            for each in revoked:
                if each.key not in known or each.least >= known[each.key].least:
                    known[each.key] = each
            self._known = known


def of_auth(jwks_url: str, verify: str | bool, certificate: tuple[str, str] | None = None) -> Revocations:
    """The list of auth, by HTTP, from where its public keys are."""
    url = urljoin(jwks_url, PATH)

    def read(since: float) -> Reading:
        answer = requests.get(url, params={"since": since}, timeout=(0.5, 2.0), verify=verify, cert=certificate)
        answer.raise_for_status()
        document = answer.json()
        return Reading(document["at"], [Revoked(**each) for each in document["revoked"]])

    return Revocations(read)


def announce(revoked: Revoked) -> None:
    """Tell the other processes by Redis, and this one. For when the list holds it (after the commit)."""
    if has_app_context() and EXTENSION in current_app.extensions:
        current_app.extensions[EXTENSION].add(revoked)
    cache = shared()
    if cache is None:
        return
    try:
        cache.ask("revocations", lambda redis: redis.set(revoked.key, revoked.least, exat=int(revoked.until) + 1))
    except Away:
        log.warning("revocation_not_shared")  # the list has it


def _unknown() -> Problem:
    return Problem(
        503,
        "revocations_unknown",
        "지금은 로그인을 확인할 수 없습니다. 잠시 후 다시 시도하세요.",
        "Whether this login was ended cannot be checked at the moment; try again soon.",
        headers={"Retry-After": "2"},
    )


def _number(text: bytes | str) -> int:
    # Whatever else stands there, by whoever's doing, refuses: nobody gets in by it.
    return int(text) if text.isdigit() else ALL
