"""An event happens with its work or not at all, is handled once whatever comes twice, and dies loudly."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from platform_api.core.database import database, on_commit, on_rollback, unit_of_work
from platform_api.core.events import (
    Event,
    InvalidEvent,
    PermanentFailure,
    TransientFailure,
    envelope,
    publish,
    registry,
    relay,
)
from platform_api.core.events.bus import BusUnavailable, Outcomes, one_by_one
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.inbox import DELIVERY_LIMIT, dead_letters, handle_next, receive, replay
from platform_api.core.events.relay import measure, relay_batch
from platform_api.core.events.worker import Worker
from platform_api.core.models import AuditRecord, InboxEvent, OutboxEvent
from platform_api.core.security import audit
from tests.waiting import wait_for

TYPE = "auth.TestHappened"


@pytest.fixture
def test_event(
    fresh_databases: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[list[tuple[str, int]]]:
    """An event type for tests, heard by access; yields what its handler has seen."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / f"{TYPE}.json").write_text(json.dumps(schema))
    monkeypatch.setattr(envelope.resources, "files", lambda _: tmp_path)
    envelope.validator.cache_clear()
    monkeypatch.setattr(registry, "_handlers", {"access": {TYPE: []}})
    seen: list[tuple[str, int]] = []
    registry._handlers["access"][TYPE].append(lambda _, event: seen.append((event.subject, event.data["n"])))
    yield seen
    envelope.validator.cache_clear()


def _publish(n: int, subject: str = "m1") -> Event:
    with unit_of_work("auth") as session:
        return publish(session, TYPE, subject, n, {"n": n})


def _drain() -> int:
    relay_batch("auth", LocalBus())
    handled = 0
    while True:
        with unit_of_work("access") as session:
            if not handle_next(session, "access"):
                return handled
        handled += 1


def test_event_is_delivered_with_its_envelope(test_event: list[tuple[str, int]]) -> None:
    event = _publish(1)
    assert _drain() == 1
    assert test_event == [("m1", 1)]
    with unit_of_work("auth") as session:
        document = session.scalars(select(OutboxEvent.envelope)).one()
        assert measure(session, "auth")[0] == 0
    assert document["specversion"] == "1.0"
    assert document["type"] == "smartfitness.auth.TestHappened"
    assert Event.from_json(document) == event


def test_event_is_lost_with_the_work_that_failed(test_event: list[tuple[str, int]]) -> None:
    with pytest.raises(RuntimeError), unit_of_work("auth") as session:
        publish(session, TYPE, "m1", 1, {"n": 1})
        raise RuntimeError
    assert _drain() == 0
    assert test_event == []


def test_invalid_event_fails_the_transaction_of_its_producer(test_event: list[tuple[str, int]]) -> None:
    with pytest.raises(InvalidEvent, match="TestHappened"), unit_of_work("auth") as session:
        audit.record(session, "system", "test.done", "m1")
        publish(session, TYPE, "m1", 1, {"n": "one", "face": "x"})
    with unit_of_work("auth") as session:
        assert session.scalars(select(AuditRecord)).all() == []
    with pytest.raises(InvalidEvent, match="no schema"):
        Event.new("auth.Unheard", "m1", 1, {})


def test_event_larger_than_a_message_may_be_fails_the_transaction_of_its_producer(
    test_event: list[tuple[str, int]],
) -> None:
    with unit_of_work("auth") as session, pytest.raises(InvalidEvent, match="bytes"):
        publish(session, TYPE, "가" * (envelope.MOST_BYTES // 3), 1, {"n": 1})


def test_event_that_comes_twice_is_handled_once(test_event: list[tuple[str, int]]) -> None:
    event = _publish(1)
    _drain()
    with unit_of_work("access") as session:
        assert receive(session, event, "access") is False
    with unit_of_work("auth") as session:
        session.execute(text("UPDATE outbox SET sent_at = NULL"))
    _drain()
    assert test_event == [("m1", 1)]


def test_several_relays_at_once_publish_each_event_once(test_event: list[tuple[str, int]]) -> None:
    for n in range(60):
        _publish(n)

    class CountingBus:
        def __init__(self) -> None:
            self.published: list[str] = []

        def publish(self, event: Event) -> None:
            self.published.append(str(event.id))

        def publish_all(self, events: Sequence[Event], seconds: float) -> Outcomes:
            return one_by_one(self.publish, events, seconds)

        def keep_alive(self) -> None:
            pass

    bus = CountingBus()
    threads = [threading.Thread(target=relay_batch, args=("auth", bus)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while relay_batch("auth", bus):
        pass
    assert len(bus.published) == len(set(bus.published)) == 60


def test_a_relay_stops_when_the_bus_is_away_and_keeps_what_was_taken(test_event: list[tuple[str, int]]) -> None:
    for n in range(6):
        _publish(n)

    class FailingBus(LocalBus):
        left = 2

        def publish(self, event: Event) -> None:
            if not self.left:
                raise BusUnavailable("no node answers")
            self.left -= 1
            super().publish(event)

    with pytest.raises(BusUnavailable):
        relay_batch("auth", FailingBus())
    with unit_of_work("auth") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position)).all()
    # The one that failed is put off (it may be its own fault); those behind it were not tried and wait for nothing.
    assert [(row.sent_at is not None, row.attempts) for row in rows] == [
        (True, 1), (True, 1), (False, 1), (False, 0), (False, 0), (False, 0)
    ]  # fmt: skip
    assert relay_batch("auth", LocalBus()) == 3
    with unit_of_work("auth") as session:
        session.execute(text("UPDATE outbox SET next_attempt_at = clock_timestamp()"))
    assert _drain() == 6
    assert sorted(n for _, n in test_event) == list(range(6))


def test_an_envelope_that_is_another_events_is_put_off_and_holds_nobody_up(test_event: list[tuple[str, int]]) -> None:
    _publish(1)
    _publish(2)
    with unit_of_work("auth") as session:
        session.execute(
            text("UPDATE outbox SET event_id = gen_random_uuid() WHERE position = (SELECT min(position) FROM outbox)")
        )
    assert relay_batch("auth", LocalBus()) == 2
    with unit_of_work("auth") as session:
        first, second = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))
    assert "another event" in (first.last_error or "")
    assert first.sent_at is None
    assert second.sent_at is not None


def test_a_slow_bus_ends_the_batch_before_the_database_ends_the_transaction(
    test_event: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH_SECONDS", 0.3)
    for n in range(10):
        _publish(n)

    class SlowBus(LocalBus):
        def publish(self, event: Event) -> None:
            time.sleep(0.2)
            super().publish(event)

    assert relay_batch("auth", SlowBus()) == 2
    with unit_of_work("auth") as session:
        assert measure(session, "auth")[0] == 8


def _failing(error: Exception) -> None:
    def handler(session: Session, event: Event) -> None:
        audit.record(session, "handler", "half.done", event.subject)
        raise error

    registry._handlers["access"][TYPE][:] = [handler]


def _due_now() -> None:
    with unit_of_work("access") as session:
        session.execute(text("UPDATE inbox SET next_attempt_at = clock_timestamp() - interval '1 second'"))


def test_failed_handler_leaves_nothing_and_becomes_a_dead_letter_that_can_be_replayed(
    test_event: list[tuple[str, int]],
) -> None:
    good = registry._handlers["access"][TYPE][:]
    _failing(ValueError("boom"))
    _publish(1)
    for _ in range(DELIVERY_LIMIT):
        assert _drain() == 1
        _due_now()
    assert _drain() == 0
    with unit_of_work("access") as session:
        (dead,) = dead_letters(session, "access")
        assert "boom" in (dead.last_error or "")
        assert session.scalars(select(AuditRecord)).all() == []
    registry._handlers["access"][TYPE][:] = good
    with unit_of_work("access") as session:
        assert replay(session, "access") == 1
    assert _drain() == 1
    assert test_event == [("m1", 1)]


def test_sent_and_handled_events_go_after_a_week_unsent_and_dead_ones_stay(test_event: list[tuple[str, int]]) -> None:
    _publish(1)
    assert _drain() == 1
    _failing(PermanentFailure("cannot ever work"))
    _publish(2)
    assert _drain() == 1
    _publish(3)
    for domain in ("auth", "access"):
        with unit_of_work(domain) as session:
            relay.forget_old(session)
            ages = "sent_at = sent_at - interval '8 days'", "done_at = done_at - interval '8 days'"
            session.execute(text(f"UPDATE outbox SET {ages[0]}"))
            session.execute(text(f"UPDATE inbox SET {ages[1]}"))
    with unit_of_work("auth") as session:
        assert session.scalar(select(func.count()).select_from(OutboxEvent)) == 3
    for domain in ("auth", "access"):
        with unit_of_work(domain) as session:
            relay.forget_old(session)
    with unit_of_work("auth") as session:
        assert [row.envelope["data"]["n"] for row in session.scalars(select(OutboxEvent))] == [3]
    with unit_of_work("access") as session:
        assert [(row.envelope["data"]["n"], row.status) for row in session.scalars(select(InboxEvent))] == [(2, "dead")]


def test_permanent_failure_is_dead_at_once_and_transient_never(test_event: list[tuple[str, int]]) -> None:
    _failing(PermanentFailure("cannot ever work"))
    _publish(1)
    assert _drain() == 1
    _failing(TransientFailure("away"))
    _publish(2)
    for _ in range(DELIVERY_LIMIT + 5):
        assert _drain() == 1
        _due_now()
    with unit_of_work("access") as session:
        rows = {row.envelope["data"]["n"]: row for row in session.scalars(select(InboxEvent))}
    assert rows[1].status == "dead"
    assert (rows[2].status, rows[2].attempts) == ("pending", DELIVERY_LIMIT + 5)


def test_work_that_would_fail_at_the_commit_is_that_events_failure(test_event: list[tuple[str, int]]) -> None:
    def twice(session: Session, event: Event) -> None:
        if event.data["n"] == 1:
            session.execute(text("INSERT INTO deferred_of_test VALUES (1), (1)"))

    with unit_of_work("access") as session:
        session.execute(text("CREATE TABLE deferred_of_test (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    try:
        registry._handlers["access"][TYPE].append(twice)
        _publish(1)
        _publish(2)
        assert _drain() == 2
        with unit_of_work("access") as session:
            rows = {row.envelope["data"]["n"]: row for row in session.scalars(select(InboxEvent))}
        assert (rows[1].status, rows[1].attempts) == ("pending", 1)
        assert "deferred_of_test" in (rows[1].last_error or "")
        assert rows[2].status == "done"
    finally:
        with unit_of_work("access") as session:
            session.execute(text("DROP TABLE deferred_of_test"))


def test_worker_delivers_by_itself_and_survives_cut_connections(test_event: list[tuple[str, int]]) -> None:
    def done() -> int:
        """Events whose handling is committed: what a handler has seen may still be undone."""
        with unit_of_work("access") as session:
            return len(list(session.scalars(select(InboxEvent).where(InboxEvent.status == "done"))))

    worker = Worker(["auth", "access"], LocalBus())
    worker.start()
    try:
        _publish(1)
        wait_for(lambda: done() == 1)
        for domain in ("auth", "access"):
            with database(domain).connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
        _publish(2)
        wait_for(lambda: done() == 2)
        worker.alive()
    finally:
        worker.stop()
    assert test_event == [("m1", 1), ("m1", 2)]


def test_audit_trail_can_only_grow(fresh_databases: object) -> None:
    with unit_of_work("auth") as session:
        audit.record(session, "op-1", "member.blocked", "m1", {"password": "x", "reason": "unpaid"})
    with unit_of_work("auth") as session:
        assert session.scalars(select(AuditRecord)).one().details == {"password": "[redacted]", "reason": "unpaid"}
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(Exception, match="append-only"), unit_of_work("auth") as session:
            session.execute(text(statement))


def test_clean_up_follows_the_outcome_of_the_transaction(fresh_databases: object) -> None:
    done: list[str] = []
    with unit_of_work("auth") as session:
        on_commit(session, lambda: done.append("kept"))
        on_rollback(session, lambda: done.append("lost"))
    with pytest.raises(RuntimeError), unit_of_work("auth") as session:
        on_commit(session, lambda: done.append("kept again"))
        on_rollback(session, lambda: done.append("lost"))
        raise RuntimeError
    assert done == ["kept", "lost"]
