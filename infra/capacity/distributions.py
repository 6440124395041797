"""Distributions out of measured quantiles: drawn from by the inverse of the distribution function, linear in between."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Empirical:
    """`levels` (0 to 1) and `values`, both rising."""

    levels: Floats
    values: Floats

    @classmethod
    def of(cls, quantiles: Mapping[float, float]) -> "Empirical":
        """From values by level."""
        levels = sorted(quantiles)
        return cls(np.array(levels), np.array([quantiles[level] for level in levels]))

    def draw(self, rng: np.random.Generator, number: int) -> Floats:
        """So many values."""
        return np.interp(rng.random(number), self.levels, self.values)

    def quantile(self, level: float) -> float:
        """The value at `level`."""
        return float(np.interp(level, self.levels, self.values))

    @property
    def mean(self) -> float:
        """Mean of the piecewise uniform distribution."""
        widths = np.diff(self.levels)
        return float(np.sum(widths * (self.values[:-1] + self.values[1:]) / 2.0))

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""
        widths, low, high = np.diff(self.levels), self.values[:-1], self.values[1:]
        second = float(np.sum(widths * (low**2 + low * high + high**2) / 3.0))
        return second / self.mean**2 - 1.0

    def scaled_to(self, mean: float) -> "Empirical":
        """The same shape with another mean."""
        return Empirical(self.levels, self.values * (mean / self.mean))


def lognormal(p50: float, p95: float) -> tuple[float, float]:
    """(mean, squared coefficient of variation) of the lognormal distribution with that median and 95th percentile."""
    variance = (math.log(p95 / p50) / 1.6449) ** 2
    return p50 * math.exp(variance / 2.0), math.exp(variance) - 1.0


class Stream:
    """Values one by one, drawn in blocks because a draw of one costs as much as one of hundreds."""

    def __init__(self, distribution: Empirical, rng: np.random.Generator, block: int = 1024) -> None:
        self._distribution, self._rng, self._block = distribution, rng, block
        self._values: Floats = np.empty(0)
        self._next = 0

    def __call__(self) -> float:
        """The next value."""
        if self._next >= len(self._values):
            self._values, self._next = self._distribution.draw(self._rng, self._block), 0
        self._next += 1
        return float(self._values[self._next - 1])
