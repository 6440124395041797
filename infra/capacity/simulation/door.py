"""A gate node: so many recognitions side by side, everybody else in line, on the cores of the node.

As the product does it (access_edge.pipeline): a semaphore of `edge_recognitions_at_once`, a wait of at most GATE_PATIENCE_S for it,
after which the person is told to come again. Put in is what an answer takes when one person comes at a time, and what of it
is work of a core; out comes what a crowd sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simpy

from infra.capacity.distributions import Empirical, Floats, Stream
from infra.capacity.settings import AT_ONCE, GATE_PATIENCE_S
from infra.capacity.simulation.machine import Machine, Process


@dataclass(frozen=True)
class Look:
    """What an answer takes alone, the seconds of cores in it, and over how many cores these are spread."""

    taken: Empirical
    core_s: float
    cores: int


class Door:
    """See the module."""

    def __init__(self, env: simpy.Environment, rng: np.random.Generator, look: Look, at_once: int = AT_ONCE) -> None:
        self.env, self.look = env, look
        self.turns = simpy.Resource(env, at_once)
        self.machine = Machine(env, look.cores)
        self._taken = Stream(look.taken, rng)
        self._mean = look.taken.mean

    def answer(self, patience_s: float = GATE_PATIENCE_S) -> Process:
        """One look at a face. The process's value: whether there was one (else: too many people, come again)."""
        with self.turns.request() as turn:
            yield turn | self.env.timeout(patience_s)
            if not turn.triggered:
                return False
            taken = self._taken()
            # The share that runs on cores stretches with the answer; what one core cannot do in time runs on two side by side.
            core_s = self.look.core_s * taken / self._mean
            beside = max(0.0, core_s - taken)
            parts = [self.env.process(self.machine.work(core_s - beside))]
            if beside > 0.0:
                parts.append(self.env.process(self.machine.work(beside)))
            yield self.env.all_of(parts)
            if taken > core_s:
                yield self.env.timeout(taken - core_s)
            return True


def crowd(look: Look, clients: int, seconds: float, seed: int, at_once: int = AT_ONCE) -> tuple[Floats, float]:
    """So many who show a face, wait for the answer and show the next. Returns (seconds of each answer, answers a second)."""
    env = simpy.Environment()
    door = Door(env, np.random.default_rng(seed), look, at_once)
    taken: list[float] = []

    def visit() -> Process:
        while True:
            begun = env.now
            yield from door.answer()
            taken.append(env.now - begun)

    for _ in range(clients):
        env.process(visit())
    env.run(3.0)
    taken.clear()
    env.run(3.0 + seconds)
    return np.array(taken), len(taken) / seconds


def visits(look: Look, arrivals: Sequence[float], seed: int) -> Floats:
    """Seconds that each of those who come at `arrivals` waits for the answer, or for the word to come again."""
    env = simpy.Environment()
    door = Door(env, np.random.default_rng(seed), look)
    taken = np.empty(len(arrivals))

    def visit(number: int) -> Process:
        begun = env.now
        yield from door.answer()
        taken[number] = env.now - begun

    def come() -> Process:
        for number, at in enumerate(arrivals):
            yield env.timeout(max(0.0, at - env.now))
            env.process(visit(number))

    env.process(come())
    env.run()
    return taken
