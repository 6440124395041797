"""The relay: takes unsent events out of an outbox, publishes them, and marks them sent.

Several relays may run on one outbox: rows are claimed with FOR UPDATE SKIP LOCKED, so none is published by two at
once. A relay killed between publishing and marking publishes again; the inbox makes that harmless.
"""

import random
import time
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus import Bus, BusUnavailable
from platform_api.core.events.envelope import Event
from platform_api.core.models import InboxEvent, OutboxEvent

log = structlog.get_logger(__name__)

BATCH = 100
BATCH_SECONDS = 15.0
"""A batch ends early on a slow bus: the database closes a transaction that is idle for a minute, and all would go again."""
RETENTION = timedelta(days=7)
"""How long sent and handled rows are kept, for people to look at."""

PUBLISHED = Counter("smartfit_outbox_published_total", "Events published", ["domain", "outcome"])
UNSENT = Gauge("smartfit_outbox_unsent", "Events waiting in the outbox", ["domain"])
OLDEST = Gauge("smartfit_outbox_oldest_unsent_seconds", "Age of the oldest unsent event", ["domain"])


def relay_batch(domain: str, bus: Bus) -> int:
    """Publish what is due in the outbox of `domain`, up to BATCH. Returns how many were tried.

    Raises:
        BusUnavailable: the carrier is away. What it took before is marked sent; the rest is as it was.
    """
    away: BusUnavailable | None = None
    tried = 0
    deadline = time.monotonic() + BATCH_SECONDS
    with unit_of_work(domain) as session:
        rows = list(
            session.scalars(
                select(OutboxEvent)
                .where(OutboxEvent.sent_at.is_(None), OutboxEvent.next_attempt_at <= func.clock_timestamp())
                .order_by(OutboxEvent.next_attempt_at, OutboxEvent.position)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
        )
        for row in rows:
            tried += 1
            away = _publish(domain, row, bus)
            if away is not None or time.monotonic() > deadline:
                break
    if away is not None:
        raise away
    if not tried:
        bus.keep_alive()
    return tried


def _publish(domain: str, row: OutboxEvent, bus: Bus) -> BusUnavailable | None:
    row.attempts += 1
    try:
        bus.publish(Event.from_json(row.envelope))
    except Exception as error:
        # Put off even where the bus is away: were it this event that breaks the connection, it must not come first again.
        row.last_error = f"{type(error).__name__}: {error}"[:500]
        wait = min(0.2 * 2 ** min(row.attempts, 12), 60.0)
        row.next_attempt_at = clock.now() + timedelta(seconds=wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        PUBLISHED.labels(domain, "failed").inc()
        log.warning("publish_failed", domain=domain, event_type=row.type, attempts=row.attempts, error=row.last_error)
        return error if isinstance(error, BusUnavailable) else None
    row.sent_at = clock.now()
    PUBLISHED.labels(domain, "sent").inc()
    return None


def waiting(session: Session) -> tuple[int, float]:
    """Number of unsent events and age of the oldest in seconds."""
    count, oldest = session.execute(
        select(func.count(), func.min(OutboxEvent.created_at)).where(OutboxEvent.sent_at.is_(None))
    ).one()
    return count, max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0.0


def measure(session: Session, domain: str) -> tuple[int, float]:
    """What `waiting` says; also set as metrics."""
    count, age = waiting(session)
    UNSENT.labels(domain).set(count)
    OLDEST.labels(domain).set(age)
    return count, age


def forget_old(session: Session) -> None:
    """Delete what was sent or handled longer ago than RETENTION; unsent events and dead letters stay."""
    limit = clock.now() - RETENTION
    session.execute(delete(OutboxEvent).where(OutboxEvent.sent_at < limit))
    session.execute(delete(InboxEvent).where(InboxEvent.status == "done", InboxEvent.done_at < limit))
