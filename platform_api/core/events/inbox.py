"""Handling an event once, though it may come twice: the handler's work and the inbox row are one transaction."""

import functools
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram
from requests import RequestException
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import on_commit
from platform_api.core.events.envelope import TYPE_PREFIX, Event, InvalidEvent
from platform_api.core.events.registry import PermanentFailure, TransientFailure, handlers
from platform_api.core.events.spans import processing
from platform_api.core.http import ServiceUnavailable
from platform_api.core.models import InboxEvent
from platform_api.core.telemetry.tracing import failed

log = structlog.get_logger(__name__)

DELIVERY_LIMIT = 10
"""Attempts before an event becomes a dead letter; failures that pass by themselves do not count."""
CHANNEL = "smartfit_inbox"
SYSTEM = "smartfit_inbox"
"""What carries an event that waits here, to whoever reads traces."""
_LONGEST_WAIT = timedelta(seconds=60)

HANDLED = Counter("smartfit_events_handled_total", "Events handled", ["subscriber", "type", "outcome"])
DELAY = Histogram(
    "smartfit_event_delay_seconds",
    "From the event's time to the end of its handling",
    ["subscriber"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
PENDING = Gauge("smartfit_inbox_pending", "Events that wait for their handler, or for another try", ["subscriber"])
OLDEST = Gauge("smartfit_inbox_oldest_pending_seconds", "For how long the oldest of them waits", ["subscriber"])
DEAD = Gauge(
    "smartfit_inbox_dead_letters", "Events that no handler could take; see `smartfit events dead`", ["subscriber"]
)


def receive(session: Session, event: Event, subscriber: str) -> bool:
    """Keep an event for `subscriber` until it is handled. Returns False where it was here already."""
    statement = _insert(event, subscriber).returning(InboxEvent.event_id)
    return session.execute(statement).first() is not None


def bury(session: Session, document: Any, subscriber: str, error: Exception) -> bool:
    """Keep a document that cannot be read, of a type or a version newer than this release, as a dead letter.

    It is handled by `replay` under a release that can. Returns False, with nothing kept, where it is no CloudEvents
    document of this platform or has no id to be kept by.
    """
    try:
        type = document["type"]
        if document["specversion"] != "1.0" or not type.startswith(TYPE_PREFIX):
            return False
        values = {"event_id": UUID(document["id"]), "type": type.removeprefix(TYPE_PREFIX), "envelope": document}
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    values |= {"subscriber": subscriber, "status": "dead", "last_error": _described(error)}
    session.execute(insert(InboxEvent).values(**values).on_conflict_do_nothing())
    HANDLED.labels(subscriber, "unreadable", "dead").inc()
    log.error("event_unreadable", event_id=str(document["id"]), subscriber=subscriber, error=values["last_error"])
    return True


def is_transient(error: Exception) -> bool:
    """Whether an error passes by itself: a service or the database away."""
    if isinstance(error, DBAPIError):
        # Class 08 connection, 40 rollback (deadlock, serialization), 53 resources, 55P03 lock, 57 intervention.
        state = getattr(error.orig, "pgcode", None) or ""
        return error.connection_invalidated or not state or state[:2] in {"08", "40", "53", "57"} or state == "55P03"
    return isinstance(error, TransientFailure | ServiceUnavailable | RequestException)


def handle_next(session: Session, subscriber: str) -> bool:
    """Handle the next pending event of `subscriber` in this transaction. Returns False where none is due.

    A failing handler's work is undone (savepoint) and the event is put off with exponential backoff and jitter, or
    becomes a dead letter after DELIVERY_LIMIT attempts.
    """
    row = session.scalars(
        select(InboxEvent)
        .where(
            InboxEvent.subscriber == subscriber,
            InboxEvent.status == "pending",
            InboxEvent.next_attempt_at <= func.clock_timestamp(),
        )
        .order_by(InboxEvent.next_attempt_at, InboxEvent.position)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return False
    traceparent = row.envelope.get("traceparent")
    with processing(str(row.event_id), row.type, traceparent, SYSTEM, f"{row.type}:{subscriber}"):
        _handle(session, row)
    return True


def accept(session: Session, event: Event, subscriber: str) -> None:
    """Take in an event that a broker delivers and handle it in the same transaction.

    After the commit the message may be acknowledged whatever came of it: where the handler failed, the event waits
    in the inbox and `handle_next` tries again.
    """
    # Written as done: nobody sees it before the commit, and only a failure needs a second write.
    statement = _insert(event, subscriber, status="done", done_at=clock.now())
    row = session.scalars(statement.returning(InboxEvent)).first()
    if row is not None:
        _handle(session, row, event)
    else:
        HANDLED.labels(subscriber, event.type, "repeated").inc()


def accept_all(
    session: Session,
    events: Sequence[Event],
    subscriber: str,
    within: Callable[[Event], AbstractContextManager[None]],
) -> None:
    """Take in events and handle them, in their order and each within `within(event)`: all of them in this transaction, or none.

    Raises:
        Exception: one could not be taken or handled. The transaction must be undone; `accept` then tells which it is.
    """
    values = [{**_row(event, subscriber), "status": "done", "done_at": clock.now()} for event in events]
    statement = insert(InboxEvent.__table__).on_conflict_do_nothing().returning(InboxEvent.event_id)  # type: ignore[arg-type]
    # In one order everywhere: two consumers that were brought the same events do not wait for each other in a circle.
    new = set(session.scalars(statement, sorted(values, key=itemgetter("event_id"))))
    for event in events:
        if event.id not in new:
            on_commit(session, HANDLED.labels(subscriber, event.type, "repeated").inc)
            continue
        new.remove(event.id)
        with within(event):
            for handler in handlers(subscriber, event.type):
                handler(session, event)
            session.flush()
        # The next handler reads anew, as in a session of its own.
        session.expunge_all()
        on_commit(session, functools.partial(_done, subscriber, event))


def _done(subscriber: str, event: Event) -> None:
    HANDLED.labels(subscriber, event.type, "done").inc()
    DELAY.labels(subscriber).observe(max(0.0, (clock.now() - event.time).total_seconds()))


def _insert(event: Event, subscriber: str, **more: Any) -> Insert:
    return insert(InboxEvent).values(**_row(event, subscriber), **more).on_conflict_do_nothing()


def _row(event: Event, subscriber: str) -> dict[str, Any]:
    return {"event_id": event.id, "subscriber": subscriber, "type": event.type, "envelope": event.to_json()}


def _handle(session: Session, row: InboxEvent, event: Event | None = None) -> None:
    subscriber = row.subscriber
    try:
        event = event or Event.from_json(row.envelope)
        with session.begin_nested():
            for handler in handlers(subscriber, event.type):
                handler(session, event)
            # What is deferred fails here, where it is this event's fault, and not at the commit, where it is nobody's.
            session.flush()
            session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    except Exception as error:
        failed(error)
        _put_off(row, error)
    else:
        if row.status != "done":
            row.status, row.done_at = "done", clock.now()
        _done(subscriber, event)


def _put_off(row: InboxEvent, error: Exception) -> None:
    transient = is_transient(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise error
    row.last_error = _described(error)
    row.attempts += 1
    final = isinstance(error, PermanentFailure | InvalidEvent) or (not transient and row.attempts >= DELIVERY_LIMIT)
    row.status, row.done_at = "dead" if final else "pending", None
    if not final:
        wait = min(timedelta(seconds=0.2 * 2 ** min(row.attempts, 12)), _LONGEST_WAIT)
        row.next_attempt_at = clock.now() + wait * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    outcome = "dead" if final else "retry"
    HANDLED.labels(row.subscriber, row.type, outcome).inc()
    log.warning(
        "event_failed",
        event_type=row.type,
        event_id=str(row.event_id),
        subscriber=row.subscriber,
        attempts=row.attempts,
        outcome=outcome,
        error=row.last_error,
    )


def _described(error: Exception) -> str:
    # A text column takes no NUL.
    return f"{type(error).__name__}: {error}"[:500].replace("\0", "\\0")


@dataclass(frozen=True)
class Waiting:
    """What is in an inbox and not done: events that wait and for how long the oldest does, and dead letters."""

    pending: int
    oldest_s: float
    dead: int


def waiting(session: Session, subscriber: str) -> Waiting:
    """What is in the inbox of `subscriber` and not done."""
    pending, dead = InboxEvent.status == "pending", InboxEvent.status == "dead"
    count, oldest, lost = session.execute(
        select(func.count().filter(pending), func.min(InboxEvent.received_at).filter(pending), func.count().filter(dead))
        .where(InboxEvent.subscriber == subscriber, InboxEvent.status != "done")
    ).one()  # fmt: skip
    return Waiting(count, max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0.0, lost)


def measure(session: Session, subscriber: str) -> None:
    """Set the gauges of what waits in the inbox of `subscriber`, and of its dead letters."""
    found = waiting(session, subscriber)
    PENDING.labels(subscriber).set(found.pending)
    OLDEST.labels(subscriber).set(found.oldest_s)
    DEAD.labels(subscriber).set(found.dead)


def dead_letters(session: Session, subscriber: str, limit: int = 100) -> list[InboxEvent]:
    """The dead letters of a subscriber, oldest first."""
    query = select(InboxEvent).where(InboxEvent.subscriber == subscriber, InboxEvent.status == "dead")
    return list(session.scalars(query.order_by(InboxEvent.position).limit(limit)))


def replay(session: Session, subscriber: str, *, type: str | None = None, event_id: UUID | None = None) -> int:
    """Give dead letters of a subscriber another run: all, those of a type, or one. Returns how many there were."""
    dead = update(InboxEvent).where(InboxEvent.subscriber == subscriber, InboxEvent.status == "dead")
    if type is not None:
        dead = dead.where(InboxEvent.type == type)
    if event_id is not None:
        dead = dead.where(InboxEvent.event_id == event_id)
    again = dead.values(status="pending", attempts=0, next_attempt_at=func.clock_timestamp())
    count = int(session.execute(again).rowcount)  # type: ignore[attr-defined]
    if count:
        session.execute(text(f"NOTIFY {CHANNEL}"))
    return count
