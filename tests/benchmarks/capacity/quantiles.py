"""A distribution as a few quantiles, which is what is kept of it and drawn from again."""

from collections.abc import Sequence

import numpy as np

LEVELS = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 100)
"""Percent."""


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds at LEVELS, by level."""
    found = np.percentile(np.asarray(seconds) * 1000.0, LEVELS)
    return {str(level): round(float(value), 3) for level, value in zip(LEVELS, found, strict=True)}
