"""Three nodes of RabbitMQ: the node that leads a subscriber's queue is killed in mid-flow, and the flow goes on without it."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.rabbitmq import RabbitNode, cluster, executable
from platform_api.core.events.bus.rabbitmq import queue_name
from platform_api.core.events.lanes import lane
from tests.events_world import SUBSCRIBER, TYPE, Line, Producer, send, standing
from tests.results import save, sized
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

BEFORE, AFTER = 150, sized(150, 600)
PAUSE_S = 0.02
MOST_GAP_S = 10.0
BAR = (
    f"No event lost or doubled, and the first effect of one committed after the leader's death within {MOST_GAP_S:g} s of it, "
    "while that node stays away"
)


@pytest.fixture
def line(rabbitmq_installed: None) -> Iterator[Line]:
    """Three nodes, two relays, two consumers."""
    with standing(cluster) as made:
        made.start("consumer", 2)
        made.start("relay", 2)
        yield made


def _queue(node: RabbitNode, name: str) -> dict[str, Any]:
    """What a node says of a queue: leader, members, online."""
    command = [executable("rabbitmqctl"), "-q", "--formatter", "json", "list_queues"]
    command += ["name", "type", "leader", "members", "online"]
    told = subprocess.run(command, env=node.environment(), capture_output=True, text=True, check=True, timeout=60)
    return next(queue for queue in json.loads(told.stdout) if queue["name"] == name)


def _node(line: Line, name: str) -> RabbitNode:
    return next(node for node in line.nodes if f"{node.name}@localhost" == name)


def test_the_flow_goes_on_when_the_leader_of_a_queue_is_killed(line: Line) -> None:
    name = queue_name(SUBSCRIBER, lane(TYPE))
    first = send(10)
    wait_for(lambda: line.count() == len(first), 30, "the first events have had their effect")
    queue = _queue(line.nodes[0], name)
    assert queue["type"] in ("quorum", "rabbit_quorum_queue")
    assert len(queue["members"]) == len(queue["online"]) == 3
    leader = _node(line, queue["leader"])

    producer = Producer(BEFORE + AFTER, pause_s=PAUSE_S)
    producer.start()
    wait_for(lambda: len(producer.ids) >= BEFORE, 60, "events are flowing", every=0.01)
    leader.kill()
    at_kill, killed_at = len(producer.ids), time.time()
    published = wait_for(lambda: not producer.is_alive() and [*first, *producer.ids], 60, "all are committed")
    # One node is down all this time.
    wait_for(lambda: len(set(line.effects())) >= len(published), 30, "all have had their effect without that node")
    gap = min(line.committed()[event_id] for event_id in producer.ids[at_kill:]) - killed_at
    after = _queue(next(node for node in line.nodes if node is not leader), name)
    assert after["leader"] != queue["leader"]
    assert len(after["online"]) == 2
    line.stop()
    wait_for(lambda: line.at_broker() == 0, 20, "the broker has nothing left")
    figures = {
        "events": len(published),
        "kills": {"leader": 1},
        **line.outcome(published),
        "unhandled": line.unhandled() + line.unsent(),
        "kill_to_next_effect_s": round(gap, 2),
        "came_again_at_least": line.repeated(),
    }
    wrong = {name: figures[name] for name in ("lost", "doubled", "unasked", "unhandled") if figures[name]}
    save("faults", "events_cluster", figures, bar=BAR, holds=not wrong and gap <= MOST_GAP_S)
    assert not wrong
    assert gap <= MOST_GAP_S
