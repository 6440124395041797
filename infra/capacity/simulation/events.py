"""The event line: outbox, relays, broker, and a queue with consumers for each subscriber, on the cores they share.

As the product does it (platform_api.core.events): a relay claims up to RELAY_BATCH rows that nobody else holds, publishes them in a
pipeline, and is woken by NOTIFY or looks every RELAY_POLL_S seconds; a consumer handles what waits in one transaction. Of both an
event's share is what a step takes, its part of the claim, the confirms and the commit included. What is put in is what a step costs by itself; what comes out is what many
of them do together.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import simpy

from infra.capacity.distributions import Empirical, Stream
from infra.capacity.figures import Figures
from infra.capacity.settings import RELAY_BATCH, RELAY_POLL_S
from infra.capacity.simulation.machine import Machine, Process


@dataclass(frozen=True)
class Step:
    """What a step takes by itself, and the work of cores in it: the rest is waiting, and more than it takes runs beside it
    (the broker's, the database's) on another core."""

    taken: Empirical
    core_s: float

    @property
    def core_share(self) -> float:
        """Of the time taken."""
        return self.core_s / self.taken.mean


@dataclass(frozen=True)
class Costs:
    """Steps of an event's way.

    Attributes:
        commit: the producer's own.
        relay, consumer: an event while there are more; its share of its batch.
        relay_first, consumer_first: the event that wakes a relay (from its commit) or a consumer (from the confirm).
    """

    commit: Step
    relay: Step
    consumer: Step
    relay_first: Step
    consumer_first: Step

    @classmethod
    def of(cls, f: Figures) -> "Costs":
        """From the figures. The event that wakes somebody takes longer, but no more work of cores than another."""

        def step(taken: str, *core: str) -> Step:
            return Step(Empirical.of(f.quantiles(taken)), sum(f[name] for name in core) / 1000.0)

        relay = ("relay_own_ms", "relay_broker_ms", "relay_database_ms")
        consumer = ("consumer_own_ms", "consumer_broker_ms", "consumer_database_ms")
        return cls(
            step("event_commit_ms"),
            step("relay_gap_ms", *relay),
            step("consumer_gap_ms", *consumer),
            step("relay_first_ms", *relay),
            step("consumer_first_ms", *consumer),
        )


@dataclass
class Told:
    """One event: when its producer asked for the commit, and when each subscriber had its effect."""

    asked: float
    identity: int = 0
    effects: list[float] = field(default_factory=list)


class EventLine:
    """See the module. `on_effect(event, subscriber)` is called at each effect."""

    def __init__(
        self,
        env: simpy.Environment,
        rng: np.random.Generator,
        costs: Costs,
        relays: int,
        consumers: int,
        subscribers: int = 1,
        cores: int | None = 2,
        on_effect: Callable[[Told, int], None] = lambda event, subscriber: None,
    ) -> None:
        """cores: of the one machine all of it shares; None: each process has its own."""
        self.env, self.costs, self.on_effect = env, costs, on_effect
        self.machine = Machine(env, cores) if cores is not None else None
        self._taken = {
            id(step): Stream(step.taken, rng)
            for step in (costs.commit, costs.relay, costs.consumer, costs.relay_first, costs.consumer_first)
        }
        self.outbox: deque[Told] = deque()
        self.queues = [simpy.Store(env) for _ in range(subscribers)]
        self._news = env.event()
        self._up = env.event()
        self._up.succeed()
        self.sent = 0
        for _ in range(relays):
            env.process(self._relaying())
        for subscriber in range(subscribers):
            for _ in range(consumers):
                env.process(self._consuming(subscriber))

    def put(self, *events: Told) -> None:
        """Events whose transaction has committed."""
        self.outbox.extend(events)
        news, self._news = self._news, self.env.event()
        news.succeed()

    def commit(self, event: Told) -> Process:
        """An event's own transaction; then it is in the outbox."""
        yield from self._step(self.costs.commit)
        self.put(event)

    def broker_away(self, seconds: float) -> Process:
        """No confirms for so long. What was published before is kept: queues are replicated and on disk."""
        self._up = self.env.event()
        yield self.env.timeout(seconds)
        self._up.succeed()

    def _step(self, step: Step) -> Process:
        taken = self._taken[id(step)]()
        if self.machine is None:
            yield self.env.timeout(taken)
            return
        working = taken * step.core_share
        if working > taken:
            self.env.process(self.machine.work(working - taken))
        yield from self.machine.work(min(working, taken))
        if taken > working:
            yield self.env.timeout(taken - working)

    def _relaying(self) -> Process:
        woken = False
        while True:
            if not self.outbox:
                yield self._news | self.env.timeout(RELAY_POLL_S)
                woken = True
                if not self.outbox:
                    continue
            batch = [self.outbox.popleft() for _ in range(min(RELAY_BATCH, len(self.outbox)))]
            for event in batch:
                yield self._up
                yield from self._step(self.costs.relay_first if woken else self.costs.relay)
                woken = False
                self.sent += 1
                for queue in self.queues:
                    queue.put(event)

    def _consuming(self, subscriber: int) -> Process:
        while True:
            woken = not self.queues[subscriber].items
            event = yield self.queues[subscriber].get()
            yield from self._step(self.costs.consumer_first if woken else self.costs.consumer)
            event.effects.append(self.env.now)
            self.on_effect(event, subscriber)


def burst(costs: Costs, relays: int, number: int, seed: int, cores: int = 2) -> float:
    """Events a second until the last effect of a burst that becomes visible at once, as many consumers as relays."""
    env = simpy.Environment()
    line = EventLine(env, np.random.default_rng(seed), costs, relays, relays, cores=cores)
    done = env.event()
    left = [number]

    def effect(_event: Told, _subscriber: int) -> None:
        left[0] -= 1
        if not left[0]:
            done.succeed()

    line.on_effect = effect
    line.put(*(Told(0.0) for _ in range(number)))
    env.run(done)
    return float(number / env.now)


def steady(costs: Costs, relays: int, rate: float, seconds: float, seed: int, cores: int = 2) -> np.ndarray:
    """Seconds from asking for the commit to the effect, of events that are committed one by one, evenly spaced."""
    env = simpy.Environment()
    line = EventLine(env, np.random.default_rng(seed), costs, relays, relays, cores=cores)
    events = [Told(number / rate) for number in range(round(rate * seconds))]

    def produce() -> Process:
        for event in events:
            yield env.timeout(event.asked - env.now)
            env.process(line.commit(event))

    env.process(produce())
    env.run(seconds + 30.0)
    return np.array([event.effects[0] - event.asked for event in events])
