"""Waiting lines as formulas: M/M/c (Erlang), M/G/c (Allen and Cunneen).

Erlang B by its recursion (Jagerman), C from it. For general service times the mean wait of M/M/c is scaled by
(ca^2 + cs^2) / 2 (Allen, "Probability, Statistics, and Queueing Theory", 2nd ed., section 5.5): exact for M/M/c and M/G/1,
an approximation else. Of the waiting time's distribution the tail is taken as exponential, exact for M/M/c.
"""

import math
from dataclasses import dataclass


class Overloaded(ValueError):
    """More comes in than goes out: the queue has no steady state."""


def erlang_b(servers: int, offered: float) -> float:
    """Share lost of `offered` Erlang at so many servers without a queue.

    Raises:
        ValueError: no server, or a negative load.
    """
    if servers < 1 or offered < 0:
        raise ValueError(f"{servers} servers and {offered:g} Erlang: at least one server and no negative load")
    if offered == 0.0:
        return 0.0
    inverse = 1.0
    for number in range(1, servers + 1):
        inverse = 1.0 + inverse * number / offered
    return 1.0 / inverse


def erlang_c(servers: int, offered: float) -> float:
    """Share that has to wait, of `offered` Erlang at so many servers with a queue.

    Raises:
        Overloaded: the load is that of all servers or more.
    """
    blocked = erlang_b(servers, offered)
    if offered >= servers:
        raise Overloaded(f"{offered:g} Erlang at {servers} servers")
    return servers * blocked / (servers - offered * (1.0 - blocked))


@dataclass(frozen=True)
class Line:
    """A waiting line. `rate`: arrivals a second; `service_s`: mean; `servers`; squared coefficients of variation."""

    rate: float
    service_s: float
    servers: int
    service_scv: float = 1.0
    arrival_scv: float = 1.0

    @property
    def offered(self) -> float:
        """Erlang."""
        return self.rate * self.service_s

    @property
    def utilisation(self) -> float:
        """Share of its servers that are busy."""
        return self.offered / self.servers

    def mean_wait_s(self) -> float:
        """Mean wait. Raises Overloaded."""
        waiting = erlang_c(self.servers, self.offered)
        factor = (self.arrival_scv + self.service_scv) / 2.0
        return factor * waiting * self.service_s / (self.servers * (1.0 - self.utilisation))

    def wait_s(self, share: float) -> float:
        """What so large a share (0 to 1) waits at most: 0 where so many do not wait at all. Raises Overloaded."""
        waiting = erlang_c(self.servers, self.offered)
        if share <= 1.0 - waiting or waiting == 0.0:
            return 0.0
        return self.mean_wait_s() / waiting * math.log(waiting / (1.0 - share))

    def mean_s(self) -> float:
        """Mean time in the system. Raises Overloaded."""
        return self.mean_wait_s() + self.service_s


def servers_for(rate: float, service_s: float, target: float) -> int:
    """How many servers keep the utilisation at or under `target`.

    Raises:
        ValueError: a target that is not between 0 and 1, or a negative load.
    """
    if not 0.0 < target < 1.0:
        raise ValueError(f"a target utilisation of {target:g}: it must lie between 0 and 1")
    if rate < 0 or service_s < 0:
        raise ValueError("rate and service time must not be negative")
    # Without the rounding 0.7 / 0.7 would need two.
    return max(1, math.ceil(round(rate * service_s / target, 9)))
