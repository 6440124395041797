"""The relay: takes unsent events out of an outbox, publishes them, and marks them sent.

Several relays may run on one outbox: rows are claimed with FOR UPDATE SKIP LOCKED, so none is published by two at
once. A batch goes out in a pipeline, each event marked by a confirm of its own. A relay killed between publishing and marking
publishes again; the inbox makes that harmless.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.bus import Bus, BusUnavailable, Outcomes
from platform_api.core.events.envelope import Event, InvalidEvent
from platform_api.core.models import InboxEvent, OutboxEvent

log = structlog.get_logger(__name__)

BATCH = 100
BATCH_SECONDS = 15.0
"""A batch ends early on a slow bus: the database closes a transaction that is idle for a minute, and all would go again."""
RETENTION = timedelta(days=7)
"""How long sent and handled rows are kept, for people to look at."""

_PLAIN = {"synchronize_session": False}

PUBLISHED = Counter("smartfit_outbox_published_total", "Events published", ["domain", "outcome"])
UNSENT = Gauge("smartfit_outbox_unsent", "Events waiting in the outbox", ["domain"])
OLDEST = Gauge("smartfit_outbox_oldest_unsent_seconds", "Age of the oldest unsent event", ["domain"])


def relay_batch(domain: str, bus: Bus) -> int:
    """Publish what is due in the outbox of `domain`, up to BATCH. Returns how many were tried.

    Raises:
        BusUnavailable: the carrier is away. What it took before is marked sent; the rest is as it was.
    """
    with unit_of_work(domain) as session:
        rows = session.execute(
            select(
                OutboxEvent.position, OutboxEvent.event_id, OutboxEvent.type, OutboxEvent.attempts, OutboxEvent.envelope
            )
            .where(OutboxEvent.sent_at.is_(None), OutboxEvent.next_attempt_at <= func.clock_timestamp())
            .order_by(OutboxEvent.next_attempt_at, OutboxEvent.position)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        outcomes = _publish(rows, bus) if rows else {}
        _mark(session, domain, rows, outcomes)
    for error in outcomes.values():
        if isinstance(error, BusUnavailable):
            raise error
    if not rows:
        bus.keep_alive()
    return len(outcomes)


def _publish(rows: Sequence[Row[Any]], bus: Bus) -> Outcomes:
    """What came of them; the ids of those that were not tried are missing."""
    events, unreadable = [], Outcomes()
    for row in rows:
        try:
            event = Event.from_json(row.envelope)
            if event.id != row.event_id:
                raise InvalidEvent(f"the envelope of another event, {event.id}")
            events.append(event)
        except Exception as error:  # whatever is in it, it holds up no other
            unreadable[row.event_id] = error
    return unreadable | bus.publish_all(events, BATCH_SECONDS)


def _mark(session: Session, domain: str, rows: Sequence[Row[Any]], outcomes: Outcomes) -> None:
    tried = [row for row in rows if row.event_id in outcomes]
    sent = [row.position for row in tried if outcomes[row.event_id] is None]
    if sent:
        kept = update(OutboxEvent).where(OutboxEvent.position.in_(sent))
        session.execute(kept.values(sent_at=clock.now(), attempts=OutboxEvent.attempts + 1), execution_options=_PLAIN)
        PUBLISHED.labels(domain, "sent").inc(len(sent))
    for row in tried:
        error = outcomes[row.event_id]
        if error is None:
            continue
        # Put off even where the bus is away: were it this event that breaks the connection, it must not come first again.
        attempts, described = row.attempts + 1, f"{type(error).__name__}: {error}"[:500]
        wait = min(0.2 * 2 ** min(attempts, 12), 60.0) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        put_off = update(OutboxEvent).where(OutboxEvent.position == row.position)
        values = {
            "attempts": attempts,
            "last_error": described,
            "next_attempt_at": clock.now() + timedelta(seconds=wait),
        }
        session.execute(put_off.values(**values), execution_options=_PLAIN)
        PUBLISHED.labels(domain, "failed").inc()
        log.warning("publish_failed", domain=domain, event_type=row.type, attempts=attempts, error=described)


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
