"""2,000 events from outbox over RabbitMQ to inbox, with broker, relays and consumers killed in turn: none lost, none doubled.

Each is killed with kill -9 in the middle of its work and started again, as a supervisor would. What happened is told in
build/faults/events.json.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.rabbitmq import RabbitNode
from tests.events_world import Line, send, standing
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

EVENTS = 2000
ROUNDS = 4
QUIET_S = 25.0
"""Longer than any retry of these events takes."""
IN_ORDER = ("relay", "consumer", "broker")
REPORT = Path(__file__).parents[3] / "build" / "faults" / "events.json"


@pytest.fixture
def line(rabbitmq_installed: None) -> Iterator[Line]:
    """One node, two relays, two consumers."""
    with standing(lambda folder: [RabbitNode(folder)]) as made:
        made.start("consumer", 2)
        made.start("relay", 2)
        yield made


class Producer(threading.Thread):
    """Commits events: half of them in one transaction, so that a relay has its hands full, the others one by one."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.ids: list[str] = []
        self.begun = threading.Event()

    def run(self) -> None:
        together = self.number // 2
        self.ids += send(together)
        self.begun.set()
        for _ in range(self.number - together):
            self.ids += send(1)
            time.sleep(0.005)


def _kill(line: Line, what: str) -> int:
    """Kill all of a kind and start them again. Returns how many there were."""
    if what == "broker":
        node = line.nodes[0]
        node.kill()
        node.start()
        node.wait()
        return 1
    doomed = [process for process in line.processes if process.role == what]
    for process in doomed:
        line.kill(process)
    line.start(what, len(doomed))
    return len(doomed)


def _wait_for_the_last(line: Line) -> None:
    """Until every event has had its effect, or nothing has happened for so long that the others are lost."""
    before, since = None, time.monotonic()
    while (now := (line.unsent(), len(set(line.effects())))) != (0, EVENTS):
        if now != before:
            before, since = now, time.monotonic()
        if time.monotonic() - since > QUIET_S:
            return
        time.sleep(0.25)


def test_nothing_is_lost_or_doubled_whatever_is_killed(line: Line) -> None:
    begun = time.monotonic()
    turns = [what for _ in range(ROUNDS) for what in IN_ORDER]
    share, rest = divmod(EVENTS, len(turns) + 1)
    published: list[str] = []
    kills: Counter[str] = Counter()
    in_flight: Counter[str] = Counter()
    for what in turns:
        producer = Producer(share)
        producer.start()
        # At another moment each time, from the first publishing of the batch to the handling of its last events.
        assert producer.begun.wait(30)
        time.sleep(random.uniform(0.02, 0.4))
        in_flight[what] += len(published) + len(producer.ids) - line.count()
        kills[what] += _kill(line, what)
        producer.join(60)
        published += producer.ids
    published += send(share + rest)
    assert len(published) == len(set(published)) == EVENTS

    _wait_for_the_last(line)
    # Doubled events are waited for as well: nothing may be left on the way before they are counted.
    line.stop()
    wait_for(lambda: line.at_broker() == 0, 20, "the broker has nothing left")
    effects = Counter(line.effects())
    report = {
        "events": EVENTS,
        "kills": dict(kills),
        "lost": len(set(published) - set(effects)),
        "doubled": sum(1 for count in effects.values() if count > 1),
        "unasked": len(set(effects) - set(published)),
        "seconds": round(time.monotonic() - begun, 1),
        "in_flight_at_kills": dict(in_flight),
        "came_again_at_least": line.repeated(),
        "unhandled": line.unhandled(),
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{json.dumps(report)} -> {REPORT.name}")
    assert report["lost"] == 0
    assert report["doubled"] == 0
    assert report["unasked"] == report["unhandled"] == 0
    # The kills were not harmless: each found events on their way, and messages came more than once.
    assert all(in_flight[what] > 0 for what in IN_ORDER)
    assert report["came_again_at_least"] > 0
