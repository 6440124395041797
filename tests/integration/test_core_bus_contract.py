"""What every bus promises, on each of them: delivered, once in effect, one subscriber's trouble is nobody else's."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, TransientFailure, envelope, publish, registry
from platform_api.core.events.bus import Bus
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.bus.rabbitmq import EXCHANGE, RabbitBus, dead_queue_name, queue_name
from platform_api.core.events.lanes import LANES
from platform_api.core.events.worker import Worker
from platform_api.core.models import AuditRecord, InboxEvent
from platform_api.core.security import audit

TYPE = "auth.TestHappened"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "x-lane": "alert"}


@pytest.fixture
def handlers(
    fresh_databases: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, list[registry.Handler]]]:
    """Handlers of a test's event type, by subscriber; each writes an audit row as its effect."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / f"{TYPE}.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setattr(envelope.resources, "files", lambda _: tmp_path)
    envelope.validator.cache_clear()

    def effect(session: Session, event: Event) -> None:
        audit.record(session, "handler", "effect", str(event.data["n"]))

    found: dict[str, list[registry.Handler]] = {"access": [effect], "auth": [effect]}
    monkeypatch.setattr(registry, "_handlers", {name: {TYPE: held} for name, held in found.items()})
    yield found
    envelope.validator.cache_clear()


@pytest.fixture(params=["local", "rabbitmq"])
def bus(request: pytest.FixtureRequest, handlers: object) -> Iterator[Bus]:
    if request.param == "local":
        yield LocalBus()
        return
    url: str = request.getfixturevalue("rabbitmq")
    bus = RabbitBus(url, ["access", "auth"])
    yield bus
    bus.close()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for subscriber in ("access", "auth"):
            for name in [*(queue_name(subscriber, lane) for lane in LANES), dead_queue_name(subscriber)]:
                channel.queue_delete(name)


@pytest.fixture
def worker(bus: Bus) -> Iterator[Worker]:
    worker = Worker(["auth", "access"], bus)
    worker.start()
    yield worker
    worker.stop()


def _send(*numbers: int) -> None:
    for n in numbers:
        with unit_of_work("auth") as session:
            publish(session, TYPE, f"m{n}", n, {"n": n})


def _effects(domain: str) -> list[int]:
    with unit_of_work(domain) as session:
        return sorted(int(target) for target in session.scalars(select(AuditRecord.target)))


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_each_event_reaches_each_subscriber_once(worker: Worker) -> None:
    _send(*range(30))
    _until(lambda: _effects("access") == list(range(30)) and _effects("auth") == list(range(30)))


def test_an_event_published_again_has_no_second_effect(bus: Bus, worker: Worker) -> None:
    _send(1)
    _until(lambda: _effects("access") == [1])
    with unit_of_work("access") as session:
        event = Event.from_json(session.scalars(select(InboxEvent.envelope)).one())
    for _ in range(3):
        bus.publish(event)
    _send(2)
    _until(lambda: 2 in _effects("access"))
    assert _effects("access") == [1, 2]


def test_a_failing_subscriber_is_retried_and_holds_nobody_up(
    handlers: dict[str, list[registry.Handler]], worker: Worker
) -> None:
    away = threading.Event()
    away.set()

    def sometimes(session: Session, event: Event) -> None:
        if away.is_set():
            raise TransientFailure("away")

    handlers["access"].append(sometimes)
    _send(1, 2)
    _until(lambda: _effects("auth") == [1, 2])
    assert _effects("access") == []
    away.clear()
    _until(lambda: _effects("access") == [1, 2])


def test_events_sent_while_nobody_consumes_are_delivered_later(bus: Bus) -> None:
    relay = Worker(["auth", "access"], bus, consume=False)
    relay.start()
    _send(1, 2, 3)
    time.sleep(1)
    relay.stop()
    assert _effects("access") == []
    worker = Worker(["auth", "access"], bus)
    worker.start()
    try:
        _until(lambda: _effects("access") == [1, 2, 3])
    finally:
        worker.stop()


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_unreadable_messages_end_in_the_dead_letter_queue(bus: Bus, worker: Worker, rabbitmq: str) -> None:
    _send(1)
    _until(lambda: _effects("access") == [1])
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        for body in (b"not json", b'{"specversion": "1.0"}', json.dumps({"type": "x"}).encode()):
            channel.basic_publish(EXCHANGE, TYPE, body)

        def dead() -> int:
            return channel.queue_declare(dead_queue_name("access"), passive=True).method.message_count

        _until(lambda: dead() == 3)
    _send(2)
    _until(lambda: _effects("access") == [1, 2])


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_an_event_that_reaches_no_queue_is_an_error_not_a_loss(bus: Bus, rabbitmq: str) -> None:
    _send(1)
    event = Event.new(TYPE, "m1", 1, {"n": 1})
    bus.publish(event)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        for subscriber in ("access", "auth"):
            connection.channel().queue_delete(queue_name(subscriber, "alert"))
    with pytest.raises(pika.exceptions.UnroutableError):
        bus.publish(event)
    bus.publish(event)
