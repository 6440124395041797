"""Visits made up for tests and benchmarks: there are no real ones. A chain in a few towns; members with a home, a habit, a taste.

A member goes to the branches near home, most to one of them, at hours of their own; now and then to another that has what
they like (the same latent tastes run through members and branches). A few wander. Nothing here knows the recommender.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """The tables as `preferences/history` has them, and the branches' traits."""

    visits: pd.DataFrame
    ratings: pd.DataFrame
    traits: dict[str, dict[str, float]]


def made_up(members: int = 300, branches: int = 40, days: int = 120, seed: int = 1, structure: bool = True) -> Made:
    """structure False: everybody goes anywhere, by popularity alone."""
    draw = np.random.default_rng(seed)
    towns = max(2, branches // 8)
    town = draw.integers(0, towns, branches)
    character = draw.normal(0, 1, (branches, 4))
    popular = np.exp(draw.normal(0, 0.7, branches))
    rows, said = [], []
    for member in range(members):
        taste, home = draw.normal(0, 1, 4), draw.integers(0, towns)
        pull = np.log(popular)
        if structure:
            pull = pull + 4.0 * (town == home) + 0.9 * character @ taste
            pull[draw.choice(branches, p=_softmax(pull))] += 1.5
        chance = _softmax(pull)
        often, hour = draw.gamma(2.0, 0.09), int(draw.integers(6, 22))
        for day in np.flatnonzero(draw.random(days) < min(often, 0.8)):
            rows.append((f"m{member}", f"b{draw.choice(branches, p=chance)}", int(day), hour))
        if rows and rows[-1][0] == f"m{member}" and draw.random() < 0.3:
            branch = rows[-1][1]
            liked = 4 + float(np.tanh(character[int(branch[1:])] @ taste))
            said.append((f"m{member}", branch, round(np.clip(liked, 1, 5)), rows[-1][2]))
    start = date(2026, 1, 5)
    visits = pd.DataFrame(rows, columns=["member", "branch_id", "day", "hour"])
    visits["day"] = pd.to_datetime([start + timedelta(days=day) for day in visits["day"]])
    visits["weekday"] = visits["day"].dt.day_of_week
    ratings = pd.DataFrame(said, columns=["member", "branch_id", "rating", "day"])
    ratings["day"] = pd.to_datetime([start + timedelta(days=day) for day in ratings["day"]])
    squashed = 1 / (1 + np.exp(-character))
    names = ("quiet", "clean", "evening", "price")
    traits = {f"b{b}": dict(zip(names, map(float, squashed[b]), strict=True)) for b in range(branches)}
    return Made(visits, ratings, traits)


def _softmax(pull: Array) -> Array:
    found: Array = np.exp(pull - pull.max())
    return found / found.sum()
