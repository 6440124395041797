"""What every bus promises, on each of them: delivered, once in effect, one subscriber's trouble is nobody else's."""

import contextlib
import json
import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pika
import pytest
from click.testing import CliRunner
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.local import events_cli
from infra.local.postgres import free_port
from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, PermanentFailure, TransientFailure, envelope, inbox, publish, registry
from platform_api.core.events.bus import Bus, BusUnavailable
from platform_api.core.events.bus import rabbitmq as rabbitmq_bus
from platform_api.core.events.bus.confirms import Message
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.bus.rabbitmq import (
    EXCHANGE,
    RabbitBus,
    dead_messages,
    dead_queue_name,
    queue_name,
)
from platform_api.core.events.envelope import MOST_BYTES
from platform_api.core.events.lanes import LANES
from platform_api.core.events.worker import Worker
from platform_api.core.models import AuditRecord, InboxEvent, OutboxEvent
from platform_api.core.security import audit
from platform_api.core.telemetry.tracing import current_traceparent, span
from tests.waiting import wait_for

TYPE = "auth.TestHappened"
NEWER_TYPE = "auth.TestInvented"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "text": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
    "x-lane": "alert",
}


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


@pytest.fixture
def upgrade(
    handlers: dict[str, list[registry.Handler]], tmp_path: Path, bus: Bus, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """Makes this release one that knows the newer type, and the field that the newer version of the old one has."""

    def make() -> None:
        # First who hears it: what is published while nobody does is nobody's, and a release brings both at once.
        for subscriber in handlers:
            registry._handlers[subscriber][NEWER_TYPE] = handlers[subscriber]
        if isinstance(bus, RabbitBus):
            # All of them, as each process of a release does at its start. One alone (a consumer that connects again just
            # now) would make the event routable, and so sent, before the others hear it.
            with pika.BlockingConnection(pika.URLParameters(request.getfixturevalue("rabbitmq"))) as connection:
                for subscriber in handlers:
                    queue = queue_name(subscriber, str(SCHEMA["x-lane"]))
                    connection.channel().queue_bind(queue, EXCHANGE, routing_key=NEWER_TYPE)
        newer = {**SCHEMA, "properties": {**SCHEMA["properties"], "newer": {"type": "string"}}}  # type: ignore[dict-item]
        for type in (TYPE, NEWER_TYPE):
            (tmp_path / "schemas" / f"{type}.json").write_text(json.dumps(newer))
        envelope.validator.cache_clear()

    return make


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
def deliver(bus: Bus, request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], None]:
    """Brings access a document as a relay of another release would, which knows more types and versions."""

    def to_inbox(document: dict[str, Any]) -> None:
        with unit_of_work("access") as session:
            row = {"event_id": uuid.UUID(document["id"]), "type": document["type"], "envelope": document}
            session.add(InboxEvent(subscriber="access", **row))

    def to_exchange(document: dict[str, Any]) -> None:
        with pika.BlockingConnection(pika.URLParameters(request.getfixturevalue("rabbitmq"))) as connection:
            connection.channel().basic_publish(EXCHANGE, TYPE, json.dumps(document).encode())

    return to_inbox if isinstance(bus, LocalBus) else to_exchange


def _document(type: str = TYPE, **data: Any) -> dict[str, Any]:
    document = Event.new(TYPE, "m1", 1, {"n": 0}).to_json()
    return {**document, "type": f"smartfitness.{type}", "data": data}


def _dead(subscriber: str = "access") -> list[str]:
    with unit_of_work(subscriber) as session:
        return [str(letter.last_error) for letter in inbox.dead_letters(session, subscriber)]


def _replay(subscriber: str = "access") -> int:
    with unit_of_work(subscriber) as session:
        return inbox.replay(session, subscriber)


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


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    wait_for(holds, seconds)


def test_each_event_reaches_each_subscriber_once(worker: Worker) -> None:
    _send(*range(30))
    _until(lambda: _effects("access") == list(range(30)) and _effects("auth") == list(range(30)))


def test_a_trace_goes_on_in_the_handler_and_in_what_it_publishes_next(
    handlers: dict[str, list[registry.Handler]], worker: Worker
) -> None:
    """Without an SDK and without an endpoint, too; and at the second try, from the inbox."""
    seen: dict[str, list[str | None]] = {"access": [], "auth": []}
    failures = iter([TransientFailure("away")])

    def goes_on(session: Session, event: Event) -> None:
        seen["access"].append(current_traceparent())
        for error in failures:
            raise error
        if event.data["n"] == 1:
            publish(session, TYPE, "next", 1, {"n": 2})

    handlers["access"].append(goes_on)
    handlers["auth"].append(lambda _, event: seen["auth"].append(current_traceparent()))
    traceparent = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    with span("request", traceparent=traceparent):
        _send(1)
    _until(lambda: _effects("auth") == [1, 2] and _effects("access") == [1, 2])
    # Three: one that failed, its second try, and what that published.
    assert [(told or "").split("-")[1] for told in seen["access"]] == [traceparent.split("-")[1]] * 3
    assert [(told or "").split("-")[1] for told in seen["auth"]] == [traceparent.split("-")[1]] * 2
    assert current_traceparent() is None


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


def test_what_a_newer_release_says_is_a_dead_letter_until_this_one_can_read_it(
    worker: Worker, deliver: Callable[[dict[str, Any]], None], upgrade: Callable[[], None]
) -> None:
    _send(1)
    _until(lambda: _effects("access") == [1])
    deliver(_document(NEWER_TYPE, n=2))
    deliver(_document(n=3, newer="x"))
    _until(lambda: len(_dead()) == 2)
    unknown, newer = sorted(_dead(), key=lambda error: "newer" in error)
    assert "no schema" in unknown
    assert "'newer' was unexpected" in newer
    _send(4)
    _until(lambda: _effects("access") == [1, 4])
    # A release that knows no more than this one may be told to try again; it changes nothing.
    assert _replay() == 2
    _until(lambda: len(_dead()) == 2)
    assert _effects("access") == [1, 4]
    upgrade()
    assert _replay() == 2
    _until(lambda: _effects("access") == [1, 2, 3, 4])
    assert _dead() == []


def test_an_event_that_its_own_relay_cannot_read_waits_and_holds_nobody_up(
    worker: Worker, upgrade: Callable[[], None]
) -> None:
    document = _document(NEWER_TYPE, n=1)
    with unit_of_work("auth") as session:
        session.add(OutboxEvent(event_id=uuid.UUID(document["id"]), type=NEWER_TYPE, envelope=document))
    _send(2)
    _until(lambda: _effects("access") == [2])
    with unit_of_work("auth") as session:
        (row,) = session.scalars(select(OutboxEvent).where(OutboxEvent.sent_at.is_(None)))
    assert row.type == NEWER_TYPE
    assert "no schema" in (row.last_error or "")
    upgrade()
    _until(lambda: _effects("access") == [1, 2])


def test_an_event_ahead_of_its_object_waits_for_it_and_dies_in_the_end(
    handlers: dict[str, list[registry.Handler]], worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "DELIVERY_LIMIT", 4)
    known: set[int] = set()

    def needs_its_object(session: Session, event: Event) -> None:
        if event.data["n"] not in known:
            raise LookupError(f"no object {event.data['n']}")

    # Behind the effect, which must not stay when the whole fails.
    handlers["access"].append(needs_its_object)
    _send(1, 2)
    _until(lambda: _effects("auth") == [1, 2])
    assert _effects("access") == []
    known.add(1)
    _until(lambda: _effects("access") == [1])
    _until(lambda: len(_dead()) == 1)
    assert _dead() == ["LookupError: no object 2"]
    with unit_of_work("access") as session:
        (letter,) = inbox.dead_letters(session, "access")
        assert letter.attempts == 4
    _send(3)
    known.add(3)
    _until(lambda: _effects("access") == [1, 3])
    known.add(2)
    assert _replay() == 1
    _until(lambda: _effects("access") == [1, 2, 3])
    assert _replay() == 0


@pytest.mark.parametrize("bus", ["local"], indirect=True)
def test_nonsense_in_the_inbox_is_a_dead_letter(worker: Worker, deliver: Callable[[dict[str, Any]], None]) -> None:
    for document in (
        {"type": "x"},
        {**_document(n=1), "time": "2026-01-01T00:00:00"},
        {**_document(n=1), "sequence": "first"},
        {**_document(n=1), "specversion": "0.3"},
        {**_document(n=1), "data": None},
        {**_document(n=1), "type": "smartfitness.../../secrets"},
    ):
        deliver({**document, "id": str(uuid.uuid4())})
    _until(lambda: len(_dead()) == 6)
    _send(2)
    _until(lambda: _effects("access") == [2])


UNREADABLE = {
    "no JSON": b"not json",
    "no UTF-8": b"\xff\xfe{",
    "no object": b"[1]",
    "no event": b'{"specversion": "1.0"}',
    "foreign event": json.dumps({"specversion": "1.0", "type": "other.Happened", "id": str(uuid.uuid4())}).encode(),
    "too deep": b"[" * 100_000,
    "too large": json.dumps(
        {"specversion": "1.0", "type": f"smartfitness.{TYPE}", "id": str(uuid.uuid4()), "more": "x" * MOST_BYTES}
    ).encode(),
    "no id": json.dumps({"specversion": "1.0", "type": f"smartfitness.{TYPE}", "id": "7"}).encode(),
}


def _unstorable() -> list[bytes]:
    """What Python reads and PostgreSQL's JSON does not take."""
    return [
        json.dumps(_document(n=1, text="a\0b")).encode(),
        json.dumps(_document(n=1, text="\ud800")).encode(),
        json.dumps(_document(n=1, newer=float("nan"))).encode(),
    ]


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_unreadable_messages_end_in_the_dead_letter_queue(bus: Bus, worker: Worker, rabbitmq: str) -> None:
    _send(1)
    _until(lambda: _effects("access") == [1])
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        bodies = [*UNREADABLE.values(), *_unstorable()]
        for body in bodies:
            channel.basic_publish(EXCHANGE, TYPE, body)
        _until(lambda: dead_messages(rabbitmq, "access") == len(bodies))
    worker.alive()
    assert _dead() == []
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


def test_many_handed_over_at_once_are_each_safe_and_come_in_their_order(
    handlers: dict[str, list[registry.Handler]], bus: Bus
) -> None:
    heard: list[int] = []
    handlers["access"].append(lambda _, event: heard.append(event.data["n"]))
    events = [Event.new(TYPE, "m1", n, {"n": n}) for n in range(50)]
    assert bus.publish_all(events, 10.0) == dict.fromkeys(event.id for event in events)
    worker = Worker(["access"], bus)
    worker.start()
    try:
        _until(lambda: _effects("access") == list(range(50)))
    finally:
        worker.stop()
    assert heard == list(range(50))


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_one_of_many_that_reaches_no_queue_is_not_safe_and_the_others_are(
    bus: Bus, rabbitmq: str, upgrade: Callable[[], None]
) -> None:
    bus.publish(Event.new(TYPE, "m1", 1, {"n": 0}))
    upgrade()
    good = [Event.new(TYPE, "m1", n, {"n": n}) for n in range(6)]
    lost = Event.new(NEWER_TYPE, "m1", 1, {"n": 7})
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        bus.publish(good[0])
        for subscriber in ("access", "auth"):
            connection.channel().queue_unbind(queue_name(subscriber, "alert"), EXCHANGE, NEWER_TYPE)
    outcomes = bus.publish_all([*good[:3], lost, *good[3:]], 10.0)
    assert isinstance(outcomes.pop(lost.id), pika.exceptions.UnroutableError)
    assert outcomes == dict.fromkeys(event.id for event in good)
    # Its queues are bound again, as by a process that starts.
    assert bus.publish_all([lost], 10.0) == {lost.id: None}


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_one_of_many_that_the_broker_does_not_take_is_found(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker closes the channel at it, with all that was on its way: each is then tried by itself."""
    before = rabbitmq_bus._message

    def message(event: Event) -> Message:
        made = before(event)
        return replace(made, exchange="smartfit.nowhere") if event.data["n"] == 3 else made

    monkeypatch.setattr(rabbitmq_bus, "_message", message)
    events = [Event.new(TYPE, "m1", n, {"n": n}) for n in range(6)]
    outcomes = bus.publish_all(events, 10.0)
    assert isinstance(outcomes.pop(events[3].id), pika.exceptions.ChannelClosedByBroker)
    assert outcomes == dict.fromkeys(event.id for event in events if event.data["n"] != 3)


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_one_failure_among_many_is_put_off_alone(
    handlers: dict[str, list[registry.Handler]], bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that waited together are handled together; where one fails, each by itself, and none has two effects."""
    together: list[int] = []

    def accept_all(session: Session, events: Sequence[Event], *rest: Any) -> None:
        together.append(len(events))
        inbox.accept_all(session, events, *rest)

    def picky(session: Session, event: Event) -> None:
        if event.data["n"] == 33:
            raise PermanentFailure("not this one")

    monkeypatch.setattr(rabbitmq_bus, "accept_all", accept_all)
    handlers["access"].append(picky)
    events = [Event.new(TYPE, f"m{n}", 1, {"n": n}) for n in range(60)]
    # Each comes twice, the second time within the same batch or the next.
    bus.publish_all([each for event in events for each in (event, event)][:-1], 10.0)
    worker = Worker(["access"], bus)
    worker.start()
    try:
        _until(lambda: len(_dead()) == 1 and len(_effects("access")) >= 59)
    finally:
        worker.stop()
    assert _effects("access") == [n for n in range(60) if n != 33]
    assert _dead() == ["PermanentFailure: not this one"]
    assert max(together) > 8


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_the_brokers_dead_letters_are_shown_and_replayed(
    bus: Bus, rabbitmq: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTFIT_RABBITMQ_URL", rabbitmq)

    def smartfit_events(*arguments: str) -> str:
        done = CliRunner().invoke(events_cli.command, [*arguments, "--state", str(tmp_path / "none")])
        assert done.exit_code == 0, done.output
        return done.output

    assert json.loads(smartfit_events("dead", "--json")) == []
    bus.publish(Event.new(TYPE, "m1", 1, {"n": 1}))
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        channel.basic_publish(EXCHANGE, TYPE, b"not json")
        for _ in range(2):
            method, _, _ = channel.basic_get(queue_name("access", "alert"))
            assert method is not None
            channel.basic_reject(method.delivery_tag, requeue=False)
    _until(lambda: dead_messages(rabbitmq, "access") == 2)
    (row,) = json.loads(smartfit_events("dead", "--json"))
    assert row["subscriber"] == "access"
    assert row["error"].startswith("2 unreadable")
    assert "2 events will be handled again" in " ".join(smartfit_events("replay", "access").split())
    assert "0 events" in smartfit_events("replay", "helper")
    worker = Worker(["access"], bus)
    worker.start()
    try:
        _until(lambda: _effects("access") == [1])
        _until(lambda: dead_messages(rabbitmq, "access") == 1)
    finally:
        worker.stop()


@pytest.fixture
def impatient(rabbitmq: str, bus: Bus) -> Iterator[RabbitBus]:
    """A bus whose broker gives a silent connection up after two seconds."""
    made = RabbitBus(f"{rabbitmq}?heartbeat=1", ["access", "auth"])
    made.publish(Event.new(TYPE, "m1", 1, {"n": 1}))
    yield made
    made.close()


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_an_idle_connection_is_kept(impatient: RabbitBus) -> None:
    connection = impatient._local.connection
    for _ in range(10):
        time.sleep(0.5)
        impatient.keep_alive()
    impatient.publish(Event.new(TYPE, "m1", 2, {"n": 2}))
    assert impatient._local.connection is connection
    assert connection.is_open


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_a_connection_lost_unnoticed_costs_no_event(impatient: RabbitBus) -> None:
    connection = impatient._local.connection
    time.sleep(5)
    impatient.publish(Event.new(TYPE, "m1", 2, {"n": 2}))
    assert impatient._local.connection is not connection


class Wire(socketserver.ThreadingTCPServer):
    """A broker's port at which one connection can be made deaf: it stays open, and the broker's words are lost on it."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Ends)
        self.broker = ("127.0.0.1", port)
        self.ends: list[tuple[threading.Event, socket.socket]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Ends(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        deaf = threading.Event()
        with socket.create_connection(self.server.broker) as broker:
            self.server.ends.append((deaf, broker))
            back = threading.Thread(target=self._carry, args=(broker, self.request, deaf), daemon=True)
            back.start()
            self._carry(self.request, broker, threading.Event())

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not deaf.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("bus", ["rabbitmq"], indirect=True)
def test_a_broker_that_never_confirms_holds_up_no_relay(
    bus: Bus, rabbitmq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_bus, "ANSWER_SECONDS", 2.0)
    node = pika.URLParameters(rabbitmq)
    wire = Wire(node.port)
    # No heartbeat tells of it either.
    url = rabbitmq.replace(f":{node.port}/", f":{wire.server_address[1]}/") + "?heartbeat=600"
    behind = RabbitBus(url, ["access", "auth"])
    try:
        behind.publish(Event.new(TYPE, "m1", 1, {"n": 1}))
        wire.ends[0][0].set()
        assert list(behind.publish_all([Event.new(TYPE, "m1", n, {"n": n}) for n in (2, 3)], 9.0).values()) == [
            None,
            None,
        ]
        assert len(wire.ends) == 2
        wire.ends[1][0].set()
        wire.broker = ("127.0.0.1", free_port())
        with pytest.raises(BusUnavailable):
            behind.publish(Event.new(TYPE, "m1", 4, {"n": 4}))
        left = [Event.new(TYPE, "m1", n, {"n": n}) for n in (5, 6)]
        ((tried, error),) = behind.publish_all(left, 9.0).items()
        assert tried == left[0].id
        assert isinstance(error, BusUnavailable)
    finally:
        behind.close()
        wire.shutdown()
        wire.server_close()


def test_a_broker_that_is_away_is_told_from_an_event_that_is_refused(handlers: object) -> None:
    bus = RabbitBus(f"amqp://127.0.0.1:{free_port()}/", ["access"])
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            bus.publish(Event.new(TYPE, "m1", 1, {"n": 1}))
