"""The people of this benchmark and their photos: the same for our model and for its peer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_bentos.face.protocol import photos_of

# Five that may be enrolled and one kept back; of whom there are more photos, these are drawn.
MOST_OF_ONE = 6


@dataclass(frozen=True)
class Cast:
    """photos: all, by number; of: person -> numbers of theirs, in an order drawn by chance."""

    photos: list[Path]
    of: dict[str, list[int]]

    def with_photos(self, least: int) -> list[str]:
        """Who has that many photos or more."""
        return [person for person, numbers in self.of.items() if len(numbers) >= least]


def cast(folder: Path, people: int | None, seed: int = 0) -> Cast:
    """Everybody below `folder`, or `people` of them, those with many photos and with few in turn."""
    everyone = photos_of(folder)
    rng = np.random.default_rng(seed)
    names = list(everyone)
    if people is not None:
        by_number = sorted(names, key=lambda name: -len(everyone[name]))
        names = sorted([*by_number[: people // 2], *by_number[-(people - people // 2) :]])
    photos: list[Path] = []
    of: dict[str, list[int]] = {}
    for name in names:
        chosen = [everyone[name][i] for i in rng.permutation(len(everyone[name]))[:MOST_OF_ONE]]
        of[name] = list(range(len(photos), len(photos) + len(chosen)))
        photos += chosen
    return Cast(photos, of)


@dataclass(frozen=True)
class Draw:
    """Who is enrolled with which photos (numbers), and who comes to the gate.

    gallery: (person, photos) of all; the first `len(probes)` are the members whose probes are sent, in the same order.
    strangers: (person, photo), none of them enrolled.
    """

    gallery: list[tuple[str, list[int]]]
    probes: list[int]
    strangers: list[tuple[str, int]]


def draws(
    cast: Cast, number: int, size: int, members: int, least: int, enrolled: Sequence[int] = (5,)
) -> dict[int, list[Draw]]:
    """`number` random draws for each count of `enrolled` photos: the same people and probes, more or fewer of the photos.

    Args:
        size: of the gallery; where there are not so many people, half of all.
        members: at most, of those with `least` photos or more; one photo of each is kept back.
    """
    out: dict[int, list[Draw]] = {most: [] for most in enrolled}
    everybody = list(cast.of)
    size = min(size, 2 * len(everybody) // 3)
    for seed in range(number):
        rng = np.random.default_rng([seed, size, least])
        eligible = rng.permutation(cast.with_photos(least))
        chosen = [str(name) for name in eligible[: min(members, size)]]
        rest = [str(name) for name in rng.permutation([name for name in everybody if name not in set(chosen)])]
        order = {name: [int(i) for i in rng.permutation(numbers)] for name, numbers in cast.of.items()}
        others, outside = rest[: size - len(chosen)], rest[size - len(chosen) :]
        for most in enrolled:
            out[most].append(
                Draw(
                    [(name, order[name][1 : 1 + most]) for name in chosen]
                    + [(name, order[name][:5]) for name in others],
                    [order[name][0] for name in chosen],
                    [(name, order[name][0]) for name in outside],
                )
            )
    return out
