"""The centre's intake: calls of gate nodes at the processes of the API, then the event line.

An entry is known by its id: one that comes again, because the answer to its batch was lost, is counted and dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from infra.capacity.distributions import Empirical, Floats, Stream
from infra.capacity.figures import Figures
from infra.capacity.settings import FORWARD_BATCH
from infra.capacity.simulation.events import Costs, EventLine, Told
from infra.capacity.simulation.machine import Process


@dataclass(frozen=True)
class CallCosts:
    """A call with one entry as measured, and what each further entry adds."""

    call: Empirical
    further_s: float

    @classmethod
    def of(cls, figures: Figures) -> "CallCosts":
        """From calls with one entry and with a whole batch."""
        one = Empirical.of(figures.quantiles("entries_1_call_ms"))
        batch = Empirical.of(figures.quantiles("entries_500_call_ms"))
        return cls(one, max(0.0, (batch.mean - one.mean) / (FORWARD_BATCH - 1)))


class Centre:
    """See the module. `known`: entries by id, of which each is there once."""

    def __init__(
        self, env: simpy.Environment, rng: np.random.Generator, calls: CallCosts, processes: int, line: EventLine
    ) -> None:
        self.env, self.calls, self.line = env, calls, line
        self.api = simpy.Resource(env, processes)
        self.processes = processes
        self._call = Stream(calls.call, rng)
        self.known: dict[int, Told] = {}
        self.duplicates = 0
        self.busy_s = 0.0
        self.waits: list[float] = []

    def take(self, entries: Sequence[tuple[int, float]]) -> Process:
        """A batch of (id, when it happened)."""
        asked = self.env.now
        with self.api.request() as turn:
            yield turn
            self.waits.append(self.env.now - asked)
            taken = self._call() + self.calls.further_s * (len(entries) - 1)
            yield self.env.timeout(taken)
            self.busy_s += taken
        fresh = []
        for identity, at in entries:
            if identity in self.known:
                self.duplicates += 1
                continue
            self.known[identity] = event = Told(at, identity)
            fresh.append(event)
        if fresh:
            self.line.put(*fresh)


@dataclass(frozen=True)
class Flow:
    """From an entry happening to its effects. effect_s: of each event at its last subscriber; utilisation of the API."""

    entries: int
    effect_s: Floats
    api_wait_s: Floats
    utilisation: float


def flow(
    figures: Figures, costs: Costs, rate: float, seconds: float, processes: int, relays: int, consumers: int,
    subscribers: int, seed: int,
) -> Flow:  # fmt: skip
    """Entries at `rate` a second, one a call, for so long; every process on a core of its own."""
    env, rng = simpy.Environment(), np.random.default_rng(seed)
    line = EventLine(env, rng, costs, relays, consumers, subscribers, cores=None)
    centre = Centre(env, rng, CallCosts.of(figures), processes, line)
    times = np.sort(rng.random(rng.poisson(rate * seconds)) * seconds)

    def come() -> Process:
        for identity, at in enumerate(times):
            yield env.timeout(max(0.0, float(at) - env.now))
            env.process(centre.take([(identity, float(at))]))

    env.process(come())
    env.run(seconds)
    busy = centre.busy_s / (seconds * processes)
    env.run(seconds + 600.0)
    events = [event for event in centre.known.values() if len(event.effects) == subscribers]
    effects = np.array([max(event.effects) - event.asked for event in events])
    return Flow(len(times), effects, np.array(centre.waits), busy)
