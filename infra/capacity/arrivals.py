"""Who comes when: a Poisson process whose rate follows the hours of a day, people of a group coming together."""

import numpy as np

from infra.capacity.distributions import Floats
from infra.capacity.figures import Figures
from infra.capacity.fleet import HOUR_S, YEAR_D

TOGETHER_S = 6.0
"""People of a group stand at the door within so many seconds."""


def arrivals(figures: Figures, members: float, begin_h: float, hours: float, rng: np.random.Generator) -> Floats:
    """Seconds (from `begin_h`, an hour of the day) at which the members of a gym come, in order, over so many hours.

    Within an hour the rate stays; so the number is Poisson and the times are uniform, which is the process itself and no
    approximation. Groups are a process of their own (a marked Poisson process) with the same share of the visits.
    """
    shares = figures.shares("hours")
    size, grouped = round(figures["group_size"]), figures["group_share"]
    day = members * figures["visits_per_member_year"] / YEAR_D * figures["busy_day_factor"]
    times: list[Floats] = []
    at, end = begin_h, begin_h + hours
    while at < end:
        until = min(np.floor(at) + 1.0, end)
        visits = day * shares[int(at) % len(shares)] * (until - at)
        alone = rng.poisson(visits * (1.0 - grouped))
        groups = rng.poisson(visits * grouped / size)
        begun, length = (at - begin_h) * HOUR_S, (until - at) * HOUR_S
        times.append(begun + rng.random(alone) * length)
        first = begun + rng.random(groups) * length
        times.append((first[:, None] + rng.random((groups, size)) * TOGETHER_S).ravel())
        at = until
    return np.sort(np.concatenate(times)) if times else np.empty(0)
