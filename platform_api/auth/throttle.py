"""Counting attempts, so that guessing gets slow: by account and by client address, in the database.

An attempt is counted *before* the password is looked at, in a transaction of its own, and taken back when it was right.
So a hundred guesses sent at once count as a hundred, and a refused request's rollback loses no count. An account that
does not exist is counted like one that does. Keys are hashed; the table holds no e-mail and no address.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.auth.models import Throttle
from platform_api.auth.settings import AuthSettings, settings
from platform_api.core.addresses import network_of
from platform_api.core.clock import now
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem

FORGOTTEN_AT_ONCE = 50


@dataclass(frozen=True)
class Limit:
    """After `free` failures the key locks for `base_s` seconds, doubled by each further one up to `longest_s`;
    `forget_s` seconds after the last one all is forgotten."""

    free: int
    base_s: float
    longest_s: float
    forget_s: float

    def lock(self, failures: int) -> timedelta | None:
        """How long the key locks at its `failures`-th failure in a row."""
        over = failures - self.free
        if over < 0:
            return None
        # 2**60 is past any cap; it keeps the float finite.
        return timedelta(seconds=min(self.longest_s, self.base_s * 2.0 ** min(over, 60)))


def key_of(kind: str, value: str) -> bytes:
    """The key under which attempts of `kind` by `value` are counted."""
    return hashlib.sha256(f"{kind}\0{value}".encode()).digest()


def account_limit(chosen: AuthSettings) -> Limit:
    """What one account allows."""
    return Limit(chosen.login_failures_free, chosen.login_lock_base_s, chosen.login_lock_max_s, chosen.login_forget_s)


def address_limit(chosen: AuthSettings) -> Limit:
    """What one client address allows, over all accounts."""
    return Limit(
        chosen.login_address_failures_free, chosen.login_lock_base_s, chosen.login_lock_max_s, chosen.login_forget_s
    )


class Attempt:
    """One attempt to sign in, counted from the start. Call `succeeded` when the secret was right."""

    def __init__(self, account: str, address: str | None) -> None:
        chosen = settings()
        self._account, self._address = key_of("login-account", account), key_of("login-address", network_of(address))
        self._account_limit, self._address_limit = account_limit(chosen), address_limit(chosen)

    def begin(self) -> None:
        """Count the attempt.

        Raises:
            Problem: 429 `login_locked` with Retry-After; the refused attempt is not counted.
        """
        limits = {self._account: self._account_limit, self._address: self._address_limit}
        with unit_of_work("auth") as session:
            # One order for all, lest two attempts wait for each other.
            longest = max(_count(session, key, limits[key]) for key in sorted(limits))
            if longest > 0:
                session.rollback()
        if longest > 0:
            raise _too_many(
                "login_locked",
                longest,
                "로그인 시도가 너무 많았습니다. 잠시 후 다시 시도하세요.",
                "Too many failed attempts; wait before the next one.",
            )

    def succeeded(self, session: Session) -> None:
        """Forget the account's failures, and take this attempt back from the address."""
        # In the same order as `begin`: the same account may be signing in elsewhere at this moment.
        both = select(Throttle.key).where(Throttle.key.in_([self._account, self._address]))
        locked = set(session.scalars(both.order_by(Throttle.key).with_for_update()))
        # Another success may have forgotten the account meanwhile. A row that came back since is of later attempts
        # alone, and waiting for it here would be out of order.
        if self._account in locked:
            session.execute(delete(Throttle).where(Throttle.key == self._account))
        free_again = Throttle.count - 1 < self._address_limit.free
        session.execute(
            update(Throttle)
            .where(Throttle.key == self._address)
            .values(
                count=func.greatest(Throttle.count - 1, 0),
                locked_until=case((free_again, None), else_=Throttle.locked_until),
            )
        )
        # Last, and without waiting for any row: what it holds, nobody waits for who holds what is asked for above.
        forget_old(session)


def count_registration(address: str | None) -> None:
    """Count one registration from a client address.

    Raises:
        Problem: 429 `too_many_registrations` with Retry-After.
    """
    per_hour, at, hour = settings().registrations_per_hour, now(), timedelta(hours=1)
    if per_hour == 0:
        return
    over = Throttle.first_at <= at - hour
    with unit_of_work("auth") as session:
        count, first_at = session.execute(
            insert(Throttle)
            .values(key=key_of("registration-address", network_of(address)), count=1, first_at=at, last_at=at)
            .on_conflict_do_update(
                index_elements=[Throttle.key],
                set_={
                    "count": case((over, literal(1)), else_=Throttle.count + 1),
                    "first_at": case((over, literal(at)), else_=Throttle.first_at),
                    "last_at": at,
                },
            )
            .returning(Throttle.count, Throttle.first_at)
        ).one()
    if count > per_hour:
        raise _too_many(
            "too_many_registrations",
            (first_at + hour - at).total_seconds(),
            "이 주소에서 가입 요청이 너무 많았습니다. 잠시 후 다시 시도하세요.",
            "Too many registrations from this address; try again later.",
        )


def forget_old(session: Session) -> None:
    """Remove a few of the counts that mean nothing any more."""
    chosen = settings()
    before = now() - timedelta(seconds=max(chosen.login_forget_s, chosen.login_lock_max_s, 3600.0))
    old = select(Throttle.key).where(Throttle.last_at < before).limit(FORGOTTEN_AT_ONCE)
    session.execute(delete(Throttle).where(Throttle.key.in_(old.with_for_update(skip_locked=True))))


def forget_account(session: Session, account: str) -> None:
    """Remove what was counted for an account (it is erased)."""
    session.execute(delete(Throttle).where(Throttle.key == key_of("login-account", account)))


def _too_many(code: str, wait_s: float, korean: str, english: str) -> Problem:
    return Problem(429, code, korean, english, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})


def _count(session: Session, key: bytes, limit: Limit) -> float:
    """Add one attempt under `key`; returns the seconds it is still locked (0: go on)."""
    at = now()
    fresh = Throttle.last_at < at - timedelta(seconds=limit.forget_s)
    count, locked_until = session.execute(
        insert(Throttle)
        .values(key=key, count=1, first_at=at, last_at=at, locked_until=None)
        .on_conflict_do_update(
            index_elements=[Throttle.key],
            set_={
                "count": case((fresh, literal(1)), else_=Throttle.count + 1),
                "first_at": case((fresh, literal(at)), else_=Throttle.first_at),
                "last_at": at,
            },
        )
        .returning(Throttle.count, Throttle.locked_until)
    ).one()
    if locked_until is not None and locked_until > at:
        return float((locked_until - at).total_seconds())
    lock = limit.lock(count)
    session.execute(update(Throttle).where(Throttle.key == key).values(locked_until=at + lock if lock else None))
    return 0.0
