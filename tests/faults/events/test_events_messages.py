"""Messages as they should not be, on a real broker, between good ones: twice, out of order, spoilt, too large, and of a kind that no
handler can take yet. The good ones have each one effect, the bad ones end where somebody looks, and nobody is held up.

The handlers are those of the search domain: a visit that was counted twice would be 2, a branch is as its newest version says, and
traits of a branch that nobody knows fail every time, until it is known.
"""

import itertools
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import psutil
import pytest
from pika.exceptions import ChannelClosedByBroker
from sqlalchemy import func, select

from infra.local.rabbitmq import MOST_MESSAGE_BYTES, RabbitNode
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, inbox
from platform_api.core.events.bus.rabbitmq import EXCHANGE, dead_messages, parameters
from platform_api.core.events.envelope import MOST_BYTES, TYPE_PREFIX
from platform_api.core.models import InboxEvent, OutboxEvent
from platform_api.search.models import Branch, Visit
from tests.events_world import PRODUCER, SUBSCRIBER, TYPE, Line, Producer, entry, standing
from tests.results import save, sized
from tests.search_world import branch_data
from tests.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

GOOD = sized(400, 3000)
EACH = sized(10, 50)
"""Of each kind of bad message, and of branches."""
VERSIONS = 5
ATTEMPTS = 4
CHANGED, TRAITS = "branch.BranchInfoChanged", "branch.BranchPreferenceCreated"
MOST_PAUSE_S = 5.0
MOST_GROWTH_MIB = 150.0
BAR = (
    "With duplicated, reordered, corrupted, oversized and poison messages among good ones: no good event lost or doubled, every "
    "branch as its newest version says, dead letters exactly the bad ones, a replay does what had failed once it can, "
    f"effects never pause for more than {MOST_PAUSE_S:g} s, and no consumer grows by more than {MOST_GROWTH_MIB:g} MiB"
)


@pytest.fixture
def line(rabbitmq_installed: None) -> Iterator[Line]:
    """One broker, one relay, two consumers with the handlers of search."""
    with standing(lambda folder: [RabbitNode(folder)]) as made:
        made.environment |= {
            "EVENTS_PROCESS_HANDLERS": "platform_api.search.events",
            "EVENTS_PROCESS_ATTEMPTS": f"{ATTEMPTS}",
        }
        made.start("consumer", 2)
        made.start("relay")
        yield made


class Sender:
    """Puts documents and bytes on the exchange past every check of the product, each confirmed."""

    def __init__(self, url: str) -> None:
        self.connection = pika.BlockingConnection(parameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def put(self, body: bytes | dict[str, Any], type: str = TYPE) -> None:
        """Publish it."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.channel.basic_publish(EXCHANGE, type, raw, mandatory=True)

    def refused(self, body: bytes) -> bool:
        """Publish what the broker does not take. Whether it did not."""
        try:
            self.put(body)
        except ChannelClosedByBroker:
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()
            return True
        return False


class Memory(threading.Thread):
    """The most that each process had, in bytes, beyond what it began with."""

    def __init__(self, line: Line) -> None:
        super().__init__(daemon=True)
        self._processes = [
            psutil.Process(process.popen.pid) for process in line.processes if process.role == "consumer"
        ]
        self._begun = [process.memory_info().rss for process in self._processes]
        self.growth = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        """Until told to stop."""
        while not self.stopping.wait(0.1):
            grown = [p.memory_info().rss - begun for p, begun in zip(self._processes, self._begun, strict=True)]
            self.growth = max(self.growth, *grown)


def good() -> dict[str, Any]:
    """A document that is as it should be."""
    return Event.new(TYPE, str(uuid.uuid4()), 1, entry()).to_json()


def unreadable() -> Iterator[bytes]:
    """No event, and never one."""
    whole = json.dumps(good()).encode()
    for number in range(EACH):
        at = random.randrange(1, len(whole) - 1)
        yield from (
            whole[:at],  # truncated
            whole[:at] + b"\xff" + whole[at + 1 :],  # a wrong byte
            b"not json %d" % number,
            json.dumps({**good(), "id": number}).encode(),
            json.dumps({**good(), "specversion": "0.3"}).encode(),
        )


def unknown() -> Iterator[dict[str, Any]]:
    """An event, but none that this release can take: it may be of another."""
    for number in range(EACH):
        yield {**good(), "type": f"{TYPE_PREFIX}access.NeverHeardOf"}
        yield {**good(), "data": {**entry(), "entry_id": number}}
        yield {**good(), "time": "yesterday"}


def traits(branch_id: str) -> dict[str, Any]:
    """An event that no handler can take before its branch is known."""
    data = {"branch_id": branch_id, "traits": {"quiet": 0.75}, "computed_at": clock.now().isoformat(), "member_ids": []}
    return Event.new(TRAITS, branch_id, 1, data).to_json()


def changed(branch_id: str, version: int) -> dict[str, Any]:
    """A branch as it is at that version."""
    return Event.new(CHANGED, branch_id, version, branch_data(branch_id, name=f"{version}호점")).to_json()


def in_inbox(status: str) -> dict[str, int]:
    """How many of each type have that status."""
    with unit_of_work(SUBSCRIBER) as session:
        query = select(InboxEvent.type, func.count()).where(InboxEvent.status == status).group_by(InboxEvent.type)
        return {each[0]: each[1] for each in session.execute(query)}


def sent_before() -> list[dict[str, Any]]:
    """Events that a relay has published already."""
    with unit_of_work(PRODUCER) as session:
        return list(
            session.scalars(select(OutboxEvent.envelope).where(OutboxEvent.sent_at.is_not(None)).limit(2 * EACH))
        )


def put_bad_ones(line: Line) -> dict[str, int]:
    """All of them, well mixed, while good ones flow. Returns how many there were of each kind."""
    sender = Sender(line.url)
    twice = [(document, TYPE) for document in sent_before() for _ in range(2)]
    spoilt = [(body, TYPE) for body in unreadable()]
    other = [(document, TYPE) for document in unknown()]
    poison = [(traits(f"unknown-{number}"), TRAITS) for number in range(EACH)]
    versions = [(changed(f"branch-{n}", version), CHANGED) for n in range(EACH) for version in range(1, VERSIONS + 1)]
    large = [(json.dumps({**good(), "more": "x" * MOST_BYTES}).encode(), TYPE) for _ in range(EACH)]
    everything: list[tuple[Any, str]] = [*twice, *spoilt, *other, *poison, *versions, *large]
    random.shuffle(everything)
    for body, type in everything:
        sender.put(body, type)
    refused = sum(sender.refused(b"x" * (MOST_MESSAGE_BYTES + 1)) for _ in range(EACH))
    # An older version once more, after the newest has been heard for certain.
    wait_for(lambda: branches_as_the_newest_says() == EACH, 60, "the branches are known")
    for number in range(EACH):
        sender.put(changed(f"branch-{number}", VERSIONS - 1), CHANGED)
    sender.connection.close()
    return {
        "duplicates": len(twice),
        "versions_out_of_order": len(versions) + EACH,
        "unreadable": len(spoilt),
        "unknown": len(other),
        "too_large": len(large),
        "too_large_for_the_broker": refused,
        "poison": len(poison),
    }


def branches_as_the_newest_says() -> int:
    """How many of the branches are."""
    with unit_of_work(SUBSCRIBER) as session:
        query = select(func.count()).select_from(Branch)
        newest = query.where(Branch.version == VERSIONS, Branch.name == f"{VERSIONS}호점")
        return int(session.scalar(newest.where(Branch.branch_id.like("branch-%"))) or 0)


def replayed(line: Line) -> int:
    """Make the poison's branches known and replay it. Returns how many of them took it."""
    sender = Sender(line.url)
    for number in range(EACH):
        sender.put(changed(f"unknown-{number}", 1), CHANGED)
    sender.connection.close()
    known = select(func.count()).select_from(Branch).where(Branch.branch_id.like("unknown-%"))
    taken = known.where(Branch.traits["quiet"].as_float() == 0.75)

    def counted(query: Any) -> int:
        with unit_of_work(SUBSCRIBER) as session:
            return int(session.scalar(query) or 0)

    wait_for(lambda: counted(known) == EACH, 60, "the poison's branches are known")
    with unit_of_work(SUBSCRIBER) as session:
        assert inbox.replay(session, SUBSCRIBER, type=TRAITS) == EACH
    wait_for(lambda: counted(taken) == EACH or in_inbox("dead").get(TRAITS), 60, "what was replayed has its effect")
    return counted(taken)


def test_bad_messages_end_apart_and_good_ones_go_on(line: Line) -> None:
    memory = Memory(line)
    memory.start()
    producer = Producer(GOOD)
    producer.start()
    wait_for(lambda: len(sent_before()) >= min(2 * EACH, GOOD // 4), 60, "events are flowing")
    begun = time.time()
    bad = put_bad_ones(line)
    put_s = time.time() - begun
    wait_for(lambda: not producer.is_alive(), 120, "the producer has committed all", every=0.1)
    line.settle(20.0)
    unreadable_ones = bad["unreadable"] + bad["too_large"]
    wait_for(lambda: dead_messages(line.url, SUBSCRIBER) >= unreadable_ones, 60, "the unreadable are apart")
    wait_for(
        lambda: sum(in_inbox("dead").values()) >= bad["unknown"] + bad["poison"], 90, "the others are dead letters"
    )
    dead, dead_at_broker = in_inbox("dead"), dead_messages(line.url, SUBSCRIBER)
    with unit_of_work(SUBSCRIBER) as session:
        visits = list(session.scalars(select(Visit.visits)))
        tries = set(
            session.scalars(select(InboxEvent.attempts).where(InboxEvent.status == "dead", InboxEvent.type == TRAITS))
        )
    effects = sorted(line.committed().values())
    pause = max((after - before for before, after in itertools.pairwise(effects)), default=0.0)
    taken = replayed(line)
    memory.stopping.set()
    line.stop()
    left = line.at_broker() - dead_at_broker
    figures = {
        "events": len(producer.ids),
        "bad": bad,
        "bad_put_in_s": round(put_s, 1),
        **line.outcome(producer.ids),
        "visits_counted_twice": sum(count != 1 for count in visits) + abs(len(visits) - len(producer.ids)),
        "branches_as_the_newest_says": branches_as_the_newest_says(),
        "branches": EACH,
        "dead_letters": sum(dead.values()) + dead_at_broker,
        "dead_letters_expected": bad["unknown"] + bad["poison"] + unreadable_ones,
        "poison_tried": sorted(tries),
        "replayed_with_effect": taken,
        "left_at_the_broker": left,
        "longest_pause_of_effects_s": round(pause, 2),
        "came_again_at_least": line.repeated(),
        "consumer_growth_mib": round(memory.growth / 2**20, 1),
    }
    wrong = [
        name for name in ("lost", "doubled", "unasked", "visits_counted_twice", "left_at_the_broker") if figures[name]
    ]
    wrong += [
        name
        for name, wanted in {
            "dead_letters": figures["dead_letters_expected"],
            "branches_as_the_newest_says": EACH,
            "poison_tried": [ATTEMPTS],
            "replayed_with_effect": EACH,
        }.items()
        if figures[name] != wanted
    ]  # fmt: skip
    wrong += ["longest_pause_of_effects_s"] * (pause > MOST_PAUSE_S)
    wrong += ["consumer_growth_mib"] * (figures["consumer_growth_mib"] > MOST_GROWTH_MIB)
    save("faults", "events_messages", figures, bar=BAR, holds=not wrong)
    assert not wrong
    assert bad["too_large_for_the_broker"] == EACH
    assert dead == {TRAITS: EACH, TYPE: 2 * EACH, "access.NeverHeardOf": EACH}
    # What came twice was seen and passed over.
    assert figures["came_again_at_least"] >= bad["duplicates"]
