"""Who comes to a branch when: visits by Zipf's law over everybody who may enter, no one more than once a day.

How many come, and at which hours, is what infra/capacity assumes of a gym. On top of that each has habits: most visits fall on
three hours of the week of one's own, or beside them. And people change: some leave and others join, and habits move.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from infra.capacity import figures

HOURS = 168
PER_WEEK = 7.0
"""The most visits of one member."""
HABITS = 3
HABITUAL = 0.6
"""Part of the visits that are habit; the others follow the branch's hours."""
AROUND = {-1: 0.15, 0: 0.7, 1: 0.15}
"""Of the habitual ones, by distance in hours from the habit's hour."""
LEAVING = 1 - 0.72 ** (1 / 52)
"""A week: so 72 % are still members after a year."""
MOVING = 1 / 26
"""A week: people whose habits become others."""


class Traffic:
    """The members of one branch, week by week.

    rates: float64[members], visits a week (of two on one day one is left out, so a few less come). joined: weeks since each
    came to be a member (infinite for who always was).
    """

    def __init__(self, members: int, per_day: float, exponent: float, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._shape = np.tile(figures.load().shares("hours"), 7) / 7
        weights = np.arange(1, members + 1) ** -exponent

        def missing(log_scale: float) -> float:
            return float(np.minimum(PER_WEEK, np.exp(log_scale) * weights).sum()) - 7 * per_day

        self.rates = np.minimum(PER_WEEK, np.exp(brentq(missing, -20, 60)) * weights)
        self._rng.shuffle(self.rates)
        self._habits = self._rng.choice(HOURS, (members, HABITS), p=self._shape)
        self.joined = np.full(members, np.inf)

    def week(self) -> tuple[np.ndarray, np.ndarray]:
        """The next week's visits: members int[n] and hours of the week int[n], in no order."""
        rng, count = self._rng, len(self.rates)
        self.joined += 1
        left = np.flatnonzero(rng.random(count) < LEAVING)
        self.rates[left] = self.rates[rng.permutation(left)]
        self.joined[left] = 0
        moved = np.union1d(left, np.flatnonzero(rng.random(count) < MOVING))
        self._habits[moved] = rng.choice(HOURS, (len(moved), HABITS), p=self._shape)
        members = np.repeat(np.arange(count), rng.poisson(self.rates))
        habit = self._habits[members, rng.integers(0, HABITS, len(members))]
        habit = (habit + rng.choice(list(AROUND), len(members), p=list(AROUND.values()))) % HOURS
        others = rng.choice(HOURS, len(members), p=self._shape)
        hours = np.where(rng.random(len(members)) < HABITUAL, habit, others)
        _, first = np.unique(members * 7 + hours // 24, return_index=True)
        return members[first], hours[first]

    def expected(self, hour: int) -> np.ndarray:
        """float64[members]: the visits to be expected of each in an hour of the week, by one who knows all."""
        away = (hour - self._habits) % HOURS
        habit = sum(share * (away == distance % HOURS).sum(axis=1) for distance, share in AROUND.items())
        return np.asarray(self.rates * ((1 - HABITUAL) * self._shape[hour] + HABITUAL * habit / HABITS))

    def share_of_first(self, count: int) -> float:
        """The part of all visits that the `count` most frequent members make."""
        return float(np.sort(self.rates)[::-1][:count].sum() / self.rates.sum())
