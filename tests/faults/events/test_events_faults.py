"""Events from outbox over RabbitMQ to inbox, with broker, relays and consumers killed in turn: none lost, none doubled.

Each is killed with kill -9 in the middle of its work and started again, as a supervisor would.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from infra.local.rabbitmq import RabbitError, RabbitNode
from tests.events_world import Line, Producer, send, standing
from tests.results import save, sized
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

EVENTS = sized(1000, 2000)
ROUNDS = sized(1, 4)
STARTS = 5
QUIET_S = 25.0
"""Longer than any retry of these events takes."""
IN_ORDER = ("relay", "consumer", "broker")
BAR = "Relays, consumers and the broker killed with kill -9 in mid-flow, in turn: no event lost, none doubled, none left over"


@pytest.fixture
def line(rabbitmq_installed: None) -> Iterator[Line]:
    """One node, two relays, two consumers."""
    with standing(lambda folder: [RabbitNode(folder)]) as made:
        made.start("consumer", 2)
        made.start("relay", 2)
        yield made


def _kill(line: Line, what: str) -> int:
    """Kill all of a kind and start them again. Returns how many there were."""
    if what == "broker":
        node = line.nodes[0]
        node.kill()
        _restart(node)
        return 1
    doomed = [process for process in line.processes if process.role == what]
    for process in doomed:
        line.kill(process)
    line.start(what, len(doomed))
    return len(doomed)


def _restart(node: RabbitNode) -> None:
    """As a supervisor does: again where another program has just taken one of its ports for an outgoing connection."""
    for _ in range(STARTS):
        node.start()
        try:
            node.wait()
        except RabbitError as error:
            failed = error
        else:
            return
    raise failed


def test_nothing_is_lost_or_doubled_whatever_is_killed(line: Line) -> None:
    begun = time.monotonic()
    turns = [what for _ in range(ROUNDS) for what in IN_ORDER]
    share, rest = divmod(EVENTS, len(turns) + 1)
    published: list[str] = []
    kills: Counter[str] = Counter()
    in_flight: Counter[str] = Counter()
    for what in turns:
        producer = Producer(share, together=3 * share // 4)
        producer.start()
        # At another moment each time, from the first publishing of the batch to the handling of its last events.
        assert producer.begun.wait(30)
        time.sleep(random.uniform(0.0, 0.05))
        in_flight[what] += len(published) + len(producer.ids) - line.count()
        kills[what] += _kill(line, what)
        producer.join(60)
        published += producer.ids
    published += send(share + rest)
    assert len(published) == len(set(published)) == EVENTS

    line.settle(QUIET_S)
    # Doubled events are waited for as well: nothing may be left on the way before they are counted.
    line.stop()
    wait_for(lambda: line.at_broker() == 0, 20, "the broker has nothing left")
    figures = {
        "events": EVENTS,
        "kills": dict(kills),
        **line.outcome(published),
        "unhandled": line.unhandled(),
        "seconds": round(time.monotonic() - begun, 1),
        "in_flight_at_kills": dict(in_flight),
        "came_again_at_least": line.repeated(),
    }
    wrong = {name: figures[name] for name in ("lost", "doubled", "unasked", "unhandled") if figures[name]}
    save("faults", "events", figures, bar=BAR, holds=not wrong)
    assert not wrong
    # The kills were not harmless: each found events on their way, and messages came more than once.
    assert all(in_flight[what] > 0 for what in IN_ORDER)
    assert figures["came_again_at_least"] > 0
