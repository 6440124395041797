"""What each step of an event's way costs by itself: the producer's commit, the relay, the consumer; then all at once.

A step alone has the machine for itself: the relay empties an outbox while nobody consumes; the consumer empties the queue
that this has filled. Both work in batches, so what an event takes is its share of its batch. Seconds of cores are counted by
process family in each.
"""

import itertools
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

import pika
from sqlalchemy import select, text

from infra.local.rabbitmq import RabbitNode
from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, publish
from platform_api.core.events.bus.rabbitmq import RabbitBus, declare
from platform_api.core.models import OutboxEvent
from tests.benchmarks.capacity.processor import Clock
from tests.benchmarks.capacity.quantiles import milliseconds
from tests.benchmarks.events import limit
from tests.benchmarks.events.__main__ import SETTLE_S, burst, steady
from tests.events_world import PRODUCER, SUBSCRIBER, TYPE, Line, entry, send, standing
from tests.results import sized
from tests.waiting import wait_for

RELAYS = (1, 4)
RATE, SECONDS = 50.0, sized(1.0, 20.0)
COMMITS, WARM = sized(50, 200), 200
TOGETHER_S = 0.0005
"""Moments nearer to each other are of one batch: its events are marked, or have their effect, by one commit."""


def _broker(line: Line) -> int:
    process = line.nodes[0]._process
    assert process is not None
    return process.pid


def _database(line: Line) -> int:
    return int((line.folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def commits(number: int) -> dict[str, float]:
    """The producer's own part: from asking for the commit to having it, of one event each."""
    taken = []
    for _ in range(number):
        with unit_of_work(PRODUCER) as session:
            publish(session, TYPE, str(uuid.uuid4()), 1, entry())
            asked = time.perf_counter()
        taken.append(time.perf_counter() - asked)
    return milliseconds(taken)


def shares(moments: Sequence[float]) -> list[float]:
    """Of the seconds between two batches, the share of each event of the later one."""
    batches: list[list[float]] = []
    for moment in sorted(moments):
        if not batches or moment - batches[-1][-1] > TOGETHER_S:
            batches.append([])
        batches[-1].append(moment)
    return [
        (later[-1] - earlier[-1]) / len(later)
        for earlier, later in itertools.pairwise(batches)
        for _ in range(len(later))
    ]


def _costs(clock: Clock, number: int) -> dict[str, Any]:
    used, passed = clock.spent()
    return {"processor_ms": {name: round(1000 * each / number, 3) for name, each in used.items()}, "passed_s": passed}


def relay_alone(line: Line, number: int) -> dict[str, Any]:
    """An outbox of `number` events emptied by one relay while nobody consumes."""
    (process,) = line.start("relay")
    time.sleep(SETTLE_S)
    clock = Clock({"relay": [process.popen.pid], "broker": [_broker(line)], "database": [_database(line)]})
    send(number)
    clock.start()
    begun = time.time()
    wait_for(lambda: line.unsent() == 0, 120, "the outbox is empty", every=0.2)
    costs = _costs(clock, number)
    with unit_of_work(PRODUCER) as session:
        query = select(OutboxEvent.sent_at).where(OutboxEvent.created_at >= _moment(session, begun))
        sent = sorted(at.timestamp() for at in session.scalars(query) if at is not None)[-number:]
    line.stop()
    return {
        "events": number,
        "per_s": round(number / (sent[-1] - begun), 1),
        "gap_ms": milliseconds(shares([begun, *sent])),
        **costs,
    }


def _moment(session: Any, seconds: float) -> Any:
    return session.scalar(text("SELECT to_timestamp(:at)"), {"at": seconds - 5})


def consumer_alone(line: Line, number: int) -> dict[str, Any]:
    """What the relay has left in the queue (`number` messages), handled by one consumer."""
    before = line.count()
    begun = time.time()
    (process,) = line.start("consumer")
    clock = Clock({"consumer": [process.popen.pid], "broker": [_broker(line)], "database": [_database(line)]})
    wait_for(lambda: line.count() >= before + number, 120, "all have had their effect", every=0.2)
    at = sorted(moment for moment in line.committed().values() if moment >= begun)
    costs = _costs(clock, number)
    line.stop()
    return {
        "events": number,
        "per_s": round((len(at) - 1) / (at[-1] - at[0]), 1),
        "gap_ms": milliseconds(shares(at)),
        **costs,
    }


def relay_first(line: Line, rate: float, seconds: float) -> dict[str, float]:
    """From an event's commit to its being sent, one at a time: the relay sleeps before each, and nobody consumes."""
    line.start("relay")
    time.sleep(SETTLE_S)
    committed: dict[str, float] = {}
    begun = time.time()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, begun + number / rate - time.time()))
        with unit_of_work(PRODUCER) as session:
            event = publish(session, TYPE, str(uuid.uuid4()), 1, entry())
        committed[str(event.id)] = time.time()
    wait_for(lambda: line.unsent() == 0, 30, "the last is sent")
    line.stop()
    with unit_of_work(PRODUCER) as session:
        rows = session.execute(select(OutboxEvent.event_id, OutboxEvent.sent_at)).all()
    sent = {str(event_id): at.timestamp() for event_id, at in rows if at is not None}
    return milliseconds([max(0.0, sent[event_id] - at) for event_id, at in committed.items()])


def consumer_first(line: Line, rate: float, seconds: float) -> dict[str, float]:
    """From the broker's confirm to the effect, one at a time: the consumer sleeps before each."""
    line.start("consumer")
    wait_for(lambda: line.at_broker() == 0, 60, "the queue is empty")
    time.sleep(SETTLE_S)
    bus, confirmed = RabbitBus(line.nodes[0].url, []), {}
    begun = time.time()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, begun + number / rate - time.time()))
        event = Event.new(TYPE, str(uuid.uuid4()), 1, entry())
        bus.publish(event)
        confirmed[str(event.id)] = time.time()
    wait_for(lambda: confirmed.keys() <= line.committed().keys(), 30, "the last effect")
    effects = line.committed()
    line.stop()
    bus.close()
    return milliseconds([max(0.0, effects[event_id] - at) for event_id, at in confirmed.items()])


def row_bytes(line: Line) -> dict[str, float]:
    """Bytes of a row with its indexes, of the outbox and the inbox."""
    found = {}
    for domain, table in ((PRODUCER, "outbox"), (SUBSCRIBER, "inbox")):
        with unit_of_work(domain) as session:
            size, rows = session.execute(text(f"SELECT pg_total_relation_size('{table}'), count(*) FROM {table}")).one()
        found[table] = round(size / rows, 1)
    return found


def measure(number: int) -> dict[str, Any]:
    """All of it."""
    with standing(lambda folder: [RabbitNode(folder)]) as line:
        with pika.BlockingConnection(pika.URLParameters(line.nodes[0].url)) as connection:
            declare(connection.channel(), SUBSCRIBER)
        result: dict[str, Any] = {"commit_ms": commits(COMMITS)}
        line.start("relay")
        wait_for(lambda: line.unsent() == 0, 60, "the first events are gone")
        line.stop()
        line.start("consumer")
        wait_for(lambda: line.count() >= COMMITS, 60, "the first effects")
        line.stop()
        size = len(json.dumps(Event.new(TYPE, str(uuid.uuid4()), 1, entry()).to_json(), ensure_ascii=False).encode())
        # The peer of `make bench NAME=events`, by which another run of it on another day can be compared with this one.
        result["pika_per_s"] = limit.measure(line.nodes[0].url, 1, 1, sized(200, 2000), size)["events_per_s"]
        result["relay"] = relay_alone(line, number)
        result["consumer"] = consumer_alone(line, number)
        result["relay_first_ms"] = relay_first(line, RATE, SECONDS)
        result["consumer_first_ms"] = consumer_first(line, RATE, SECONDS)
        for relays in RELAYS:
            line.start("consumer", relays)
            line.start("relay", relays)
            burst(line, min(WARM, number))
            whole: dict[str, Any] = burst(line, number)
            time.sleep(SETTLE_S)
            result[f"whole_{relays}"] = {**whole, **steady(line, RATE, SECONDS)}
            line.stop()
        result["row_bytes"] = row_bytes(line)
    return result
