"""A cell of gyms with everything between a face at the door and the effects of its entry; lines that break and come back.

What happened at a door is in the node's log before the person is answered, is handed over by the forwarder in batches,
and is dropped from the queue when the centre has it. A line that breaks in the middle of a call loses the answer, not the
entries: the node sends them again, and the centre knows them. At the end every entry must be in the centre once, and each
subscriber must have had each event once: `Outcome` counts it.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from infra.capacity.arrivals import arrivals
from infra.capacity.distributions import Floats
from infra.capacity.figures import Figures
from infra.capacity.settings import FORWARD_BATCH, FORWARD_S
from infra.capacity.simulation.centre import CallCosts, Centre
from infra.capacity.simulation.door import Door, Look
from infra.capacity.simulation.events import Costs, EventLine, Told
from infra.capacity.simulation.machine import Process

RETRY_S = 10.0
"""Longest wait of a node between tries while the centre is gone (access_edge/sync.py)."""
STAY_S = 4500.0
LONGEST_DRAIN_S = 7200.0
COME_AGAIN_S = 1.0


@dataclass(frozen=True)
class Outage:
    """The lines of a share of the gyms are down, or (`broker`) the broker is away, from a second on for so many seconds."""

    at_s: float
    seconds: float
    share: float = 1.0
    broker: bool = False


@dataclass(frozen=True)
class Size:
    """What is simulated, and with how much at the centre."""

    gyms: int
    members: float
    begin_h: float
    hours: float
    api_processes: int = 1
    relays: int = 1
    consumers: int = 1
    subscribers: int = 3


@dataclass(frozen=True)
class Outcome:
    """Counts and times.

    Attributes:
        happened: entries logged at doors. centre: of them in the centre. effects: of each subscriber. duplicates: dropped.
        twice: effects that an event had more than once.
        answer_s: at the door. effect_s: from an entry to its last effect, of those that no outage held up.
        backlog: most entries that waited at nodes. drained_s: from the line's return to the last of them being in the centre.
        turned_away: looks that were told to come again.
    """

    happened: int
    centre: int
    effects: tuple[int, ...]
    duplicates: int
    twice: int
    turned_away: int
    answer_s: Floats
    effect_s: Floats
    backlog: int
    drained_s: float


class Cell:
    """See the module."""

    def __init__(
        self, size: Size, figures: Figures, costs: Costs, look: Look, outages: Sequence[Outage], seed: int
    ) -> None:
        self.env, self.rng = simpy.Environment(), np.random.default_rng(seed)
        self.size, self.figures, self.outages = size, figures, outages
        self.line = EventLine(
            self.env, self.rng, costs, size.relays, size.consumers, size.subscribers, None, self._effect
        )
        self.centre = Centre(self.env, self.rng, CallCosts.of(figures), size.api_processes, self.line)
        self.nodes = [Node(self, look) for _ in range(size.gyms)]
        self._ids = itertools.count()
        self.happened: dict[int, float] = {}
        self.effects = [0] * size.subscribers
        self.seen: list[set[int]] = [set() for _ in range(size.subscribers)]
        self.twice = self.turned_away = self.backlog = 0
        self.waiting = 0
        self.answers: list[float] = []
        self.arrived: dict[int, float] = {}
        for outage in outages:
            self.env.process(self._break(outage))

    def log(self, node: "Node") -> None:
        """An entry has happened."""
        identity = next(self._ids)
        self.happened[identity] = self.env.now
        self.waiting += 1
        self.backlog = max(self.backlog, self.waiting)
        node.log(identity)

    def _effect(self, event: Told, subscriber: int) -> None:
        self.effects[subscriber] += 1
        self.twice += event.identity in self.seen[subscriber]
        self.seen[subscriber].add(event.identity)

    def _break(self, outage: Outage) -> Process:
        yield self.env.timeout(outage.at_s)
        if outage.broker:
            yield from self.line.broker_away(outage.seconds)
            return
        cut = self.nodes[: round(outage.share * len(self.nodes))]
        for node in cut:
            node.online = False
        yield self.env.timeout(outage.seconds)
        for node in cut:
            node.online = True

    def run(self) -> Outcome:
        """Until everybody has come and gone and all that can be handed over has been."""
        self.env.run(self.env.all_of([self.env.process(node.door_life()) for node in self.nodes]))
        # Relays look at their outboxes for ever, so it is counted when all is done; what is not by then is lost.
        latest = self.env.now + LONGEST_DRAIN_S
        while self.env.now < latest and min(self.effects) < len(self.happened):
            self.env.run(self.env.now + 1.0)
        back = max((outage.at_s + outage.seconds for outage in self.outages if not outage.broker), default=None)
        ended = [(each.at_s, each.at_s + each.seconds + 60.0) for each in self.outages]
        late = [at for identity, at in self.arrived.items() if back is not None and self.happened[identity] < back < at]
        effects = [
            max(event.effects) - event.asked
            for event in self.centre.known.values()
            if len(event.effects) == self.size.subscribers and not any(a <= event.asked <= b for a, b in ended)
        ]
        return Outcome(
            len(self.happened), len(self.centre.known), tuple(self.effects), self.centre.duplicates, self.twice,
            self.turned_away, np.array(self.answers), np.array(effects), self.backlog,
            max(late) - back if late and back is not None else 0.0,
        )  # fmt: skip


class Node:
    """A gate node of the cell."""

    def __init__(self, cell: Cell, look: Look) -> None:
        self.cell, self.env, self.rng = cell, cell.env, cell.rng
        self.door = Door(cell.env, cell.rng, look)
        self.queue: deque[int] = deque()
        self.online = True
        self._forwarding = False

    def door_life(self) -> Process:
        """People come; over when the last has left."""
        size, figures, visits = self.cell.size, self.cell.figures, list[simpy.Process]()
        for at in arrivals(figures, size.members, size.begin_h, size.hours, self.rng):
            yield self.env.timeout(max(0.0, float(at) - self.env.now))
            visits.append(self.env.process(self._visit()))
        yield self.env.all_of(visits)

    def _visit(self) -> Process:
        figures = self.cell.figures
        if self.rng.random() >= figures["qr_share"]:
            looks = 1 + int(self.rng.random() < figures["retry_share"])
            while looks:
                begun = self.env.now
                answered = yield from self.door.answer()
                self.cell.answers.append(self.env.now - begun)
                looks -= int(answered)
                if not answered:
                    self.cell.turned_away += 1
                    yield self.env.timeout(COME_AGAIN_S)
        self.cell.log(self)
        for _ in range(self.rng.poisson(figures["exits_per_visit"])):
            yield self.env.timeout(float(self.rng.gamma(9.0, STAY_S / 9.0)))
            self.cell.log(self)

    def log(self, identity: int) -> None:
        """Keep an entry, and see that it is handed over."""
        self.queue.append(identity)
        if not self._forwarding:
            self._forwarding = True
            self.env.process(self._forward())

    def _forward(self) -> Process:
        cell = self.cell
        yield self.env.timeout(FORWARD_S * self.rng.random())
        while self.queue:
            if not self.online:
                yield self.env.timeout(RETRY_S * (0.5 + 0.5 * self.rng.random()))
                continue
            batch = list(itertools.islice(self.queue, FORWARD_BATCH))
            yield from cell.centre.take([(identity, cell.happened[identity]) for identity in batch])
            if not self.online:
                # The centre has them; the answer was lost with the line.
                continue
            for identity in batch:
                self.queue.popleft()
                cell.arrived.setdefault(identity, self.env.now)
            cell.waiting -= len(batch)
            yield self.env.timeout(FORWARD_S if not self.queue else 0.0)
        self._forwarding = False


def peak_begin(figures: Figures) -> float:
    """The busiest hour of the day."""
    shares = figures.shares("hours")
    return float(shares.index(max(shares)))
