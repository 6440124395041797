"""The watch over equipment: a worker of the prober with its items, by the product's own rules (Rules, Tracker).

Each item has its slot in the interval; a miss starts re-probes in a lane of their own; the verdict is written down, becomes
an event and a push. Items break at random times in the ways the benchmark breaks them, and echoes are lost at random. An echo
costs the prober's one core, which is what a worker runs out of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import simpy

from infra.capacity.distributions import Empirical, Floats, Stream
from infra.capacity.simulation.machine import Process
from platform_api.monitoring.states import Silent
from platform_api.monitoring.tracker import Background, Rules, Tracker

KINDS = ("silent", "cut", "error", "garbage", "stale", "slow", "power_cut", "trouble")
"""How equipment breaks, as the benchmark breaks it: each as often. Trouble is told by the item's own line, at once."""
WAITED_FOR = ("silent", "slow", "stale")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class WatchCosts:
    """Of an echo on the prober's core; the item's own answer; from the verdict to the push being received."""

    echo_core_s: float
    answer_s: float
    push: Empirical


@dataclass
class Item:
    """An item of equipment."""

    tracker: Tracker
    slot: float
    loss: float = 0.0
    broken_at: float | None = None
    kind: str = ""
    alerted_at: float | None = None
    false_alert: bool = False


class Watch:
    """A worker and its items."""

    def __init__(
        self, env: simpy.Environment, rng: np.random.Generator, costs: WatchCosts, items: int, loss: float, rules: Rules
    ) -> None:
        self.env, self.rng, self.costs, self.rules = env, rng, costs, rules
        background = Background()
        slots = rng.random(items) * rules.interval
        self.items = [Item(Tracker(rules, background), float(slot), loss) for slot in slots]
        # One core, since a worker is one process; re-probes go first, which is what their own lane comes to.
        self.core = simpy.PriorityResource(env, 1)
        self._push = Stream(costs.push, rng)
        self.busy_s = 0.0
        self.late_s = 0.0
        for item in self.items:
            env.process(self._asking(item))

    def damage(self, item: Item, kind: str) -> Process:
        """It breaks now."""
        item.broken_at, item.kind = self.env.now, kind
        if kind == "trouble":
            yield self.env.timeout(self._push())
            item.alerted_at = self.env.now

    def _asking(self, item: Item) -> Process:
        yield self.env.timeout(item.slot)
        urgent = False
        while True:
            begun = self.env.now
            missed = yield from self._echo(item, urgent)
            now = _EPOCH + timedelta(seconds=begun)
            verdict = item.tracker.miss(now) if missed else item.tracker.hit(now)
            if isinstance(verdict, Silent):
                self.env.process(self._alert(item))
            # The next slot of its own, or a re-probe, whichever is sooner.
            slot = self.rules.interval - (self.env.now - item.slot) % self.rules.interval
            urgent = item.tracker.quick
            soon = max(0.0, begun + item.tracker.spacing - self.env.now)
            yield self.env.timeout(min(slot, soon) if urgent else slot)

    def _echo(self, item: Item, urgent: bool) -> Process:
        asked = self.env.now
        timeout = item.tracker.timeout
        with self.core.request(priority=0 if urgent else 1) as turn:
            yield turn
            yield self.env.timeout(self.costs.echo_core_s)
        self.busy_s += self.costs.echo_core_s
        self.late_s = max(self.late_s, self.env.now - asked - self.costs.echo_core_s)
        broken = item.broken_at is not None and item.broken_at <= asked and item.kind != "trouble"
        lost = self.rng.random() < item.loss
        if lost or (broken and item.kind in WAITED_FOR[:2]):
            yield self.env.timeout(max(0.0, timeout - (self.env.now - asked)))
            return True
        yield self.env.timeout(self.costs.answer_s)
        return broken

    def _alert(self, item: Item) -> Process:
        yield self.env.timeout(self._push())
        if item.broken_at is None:
            item.false_alert = True
        elif item.alerted_at is None:
            item.alerted_at = self.env.now


@dataclass(frozen=True)
class Watched:
    """seconds: from fault to push, of those pushed; missed, false_alerts: how many; utilisation of the prober's core."""

    seconds: Floats
    missed: int
    false_alerts: int
    utilisation: float
    late_s: float


def watch(
    costs: WatchCosts, items: int, faults: int, seed: int, loss: float = 0.0, span_s: float = 40.0,
    rules: Rules | None = None, kinds: Sequence[str] = KINDS,
) -> Watched:  # fmt: skip
    """So many items, of which `faults` break within `span_s` seconds (after one interval), kinds in turn."""
    rules = rules or Rules()
    env, rng = simpy.Environment(), np.random.default_rng(seed)
    world = Watch(env, rng, costs, items, loss, rules)
    times = np.sort(rng.random(faults)) * span_s + rules.interval
    chosen = [world.items[index] for index in rng.choice(items, faults, replace=False)]

    def damage() -> Process:
        for number, (at, item) in enumerate(zip(times, chosen, strict=True)):
            yield env.timeout(float(at) - env.now)
            env.process(world.damage(item, kinds[number % len(kinds)]))

    env.process(damage())
    end = rules.interval + span_s + 20.0
    env.run(end)
    pushed = [item.alerted_at - item.broken_at for item in chosen if item.alerted_at is not None and item.broken_at is not None]  # fmt: skip
    return Watched(
        np.array(pushed),
        len(chosen) - len(pushed),
        sum(item.false_alert for item in world.items),
        world.busy_s / end,
        world.late_s,
    )
