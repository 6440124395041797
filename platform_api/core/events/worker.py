"""Threads that move events and do the domains' periodic jobs: a relay for each outbox and a consumer for each inbox, woken by NOTIFY.

A notification may be missed (connection lost), so each also looks every POLL seconds. A loop that meets an error
(database away) waits with jittered backoff and goes on; SIGTERM lets the present batch finish.
"""

import contextlib
import functools
import random
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from sqlalchemy import text

from platform_api.core.database import database, in_batches, unit_of_work
from platform_api.core.events import inbox, outbox
from platform_api.core.events.bus import Bus
from platform_api.core.events.inbox import handle_next
from platform_api.core.events.registry import all_subscribers
from platform_api.core.events.relay import forget_old, measure, relay_batch
from platform_api.core.jobs import jobs_of, run_jobs
from platform_api.core.security import audit_chain, audit_retention
from platform_api.core.security.audit_watch import TrailWatch

log = structlog.get_logger(__name__)

POLL = 1.0
HOUSEKEEPING = 60.0
TRAILS_CUT_EVERY = 3600.0


class Listener:
    """A connection that waits for NOTIFY on one channel of a domain's database."""

    def __init__(self, domain: str, channel: str) -> None:
        self.domain = domain
        self.channel = channel

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[float], None]]:
        """Yields `wait(seconds)`, which returns at a notification or when the time is over."""
        connection = database(self.domain).raw_connection()
        try:
            driver: Any = connection.driver_connection
            driver.set_session(autocommit=True)
            with driver.cursor() as cursor:
                cursor.execute(f"LISTEN {self.channel}")

            def wait(seconds: float) -> None:
                if select.select([driver], [], [], seconds)[0]:
                    driver.poll()
                    driver.notifies.clear()

            yield wait
        finally:
            # Not given back to the pool: it listens.
            connection.invalidate()


def _tidy(domain: str) -> None:
    """Delete what every domain keeps for a while only: sent and handled events, answers to unsafe requests."""
    with unit_of_work(domain) as session:
        measure(session, domain)
        inbox.measure(session, domain)
        forget_old(session)
        session.execute(text("DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - interval '24 hours'"))


def seal_trail(domain: str) -> None:
    """Close the audit trail of `domain` up to now."""
    in_batches(domain, audit_chain.seal)


class Worker:
    """Runs the relays of `domains` and the consumers of those that hear anything."""

    def __init__(self, domains: list[str], bus: Bus, consume: bool = True) -> None:
        self.domains = domains
        self.bus = bus
        self.consume = consume
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for domain in self.domains:
            self._thread(f"relay-{domain}", domain, outbox.CHANNEL, functools.partial(self._relay, domain))
            self._thread_plain(f"housekeeping-{domain}", functools.partial(self._housekeeping, domain))
            if jobs_of(domain):
                self._thread_plain(f"jobs-{domain}", functools.partial(run_jobs, domain, self.stopping))
        if self.consume:
            for domain in set(all_subscribers()) & set(self.domains):
                self._thread(f"inbox-{domain}", domain, inbox.CHANNEL, functools.partial(self._consume, domain))
                for number, consume in enumerate(self.bus.consumers(domain)):
                    self._thread_plain(f"consumer-{domain}-{number}", functools.partial(consume, self.stopping))

    def stop(self, timeout: float = 10.0) -> None:
        """Let each thread finish what it has in hand."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout)

    def alive(self) -> None:
        """Raise unless all threads run (part of readiness)."""
        dead = [thread.name for thread in self.threads if not thread.is_alive()]
        if dead:
            raise RuntimeError(f"stopped: {', '.join(dead)}")

    def _relay(self, domain: str) -> bool:
        return relay_batch(domain, self.bus) > 0

    def _consume(self, domain: str) -> bool:
        with unit_of_work(domain) as session:
            return handle_next(session, domain)

    def _housekeeping(self, domain: str) -> None:
        trail = TrailWatch()
        cut_at = time.monotonic() + TRAILS_CUT_EVERY * random.random()  # noqa: S311 - jitter
        while not self.stopping.is_set():
            steps: list[Callable[[str], object]] = [_tidy, seal_trail, trail.verify_when_due]
            if time.monotonic() >= cut_at:
                cut_at = time.monotonic() + TRAILS_CUT_EVERY
                steps.append(audit_retention.forget)
            for step in steps:
                try:
                    step(domain)
                except Exception as error:
                    log.warning("housekeeping_failed", domain=domain, step=step.__name__, error=str(error))
            self.stopping.wait(HOUSEKEEPING)

    def _thread(self, name: str, domain: str, channel: str, step: Callable[[], bool]) -> None:
        self._thread_plain(name, lambda: self._loop(name, Listener(domain, channel), step))

    def _thread_plain(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _loop(self, name: str, listener: Listener, step: Callable[[], bool]) -> None:
        failures = 0
        while not self.stopping.is_set():
            try:
                with listener.open() as wait:
                    while not self.stopping.is_set():
                        if not step():
                            wait(POLL)
                        failures = 0
            except Exception as error:
                failures += 1
                log.warning("loop_failed", loop=name, error=f"{type(error).__name__}: {error}"[:300])
                self.stopping.wait(min(0.2 * 2**failures, 10.0) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
