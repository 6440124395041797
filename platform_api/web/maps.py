"""A map of branches without anybody's tiles: true relative positions, north up, a scale; drawn by the template as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SIZE, MARGIN = 360.0, 34.0
_KM_PER_DEGREE = 111.32
_LEAST_KM = 0.4
"""One branch alone is shown within its neighbourhood."""
_APART = 29.0
_FAR = 4.0
"""Where the searcher's place would make the map so many times wider, it is left out."""

Place = tuple[float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Pin:
    """Where a branch is, and where its number stands: there, or beside it where numbers would cover each other."""

    at: Point
    label: Point


@dataclass(frozen=True)
class Drawing:
    """What to draw, in units of a square of SIZE."""

    pins: list[Pin]
    here: Point | None
    bar: float
    bar_km: float
    lines: list[float]

    @property
    def bar_text(self) -> str:
        """The length that the bar stands for."""
        return f"{self.bar_km:g} km" if self.bar_km >= 1 else f"{self.bar_km * 1000:g} m"


def draw(places: Sequence[Place], here: Place | None = None) -> Drawing:
    """A map of `places` (latitude, longitude), at least one; `here`: where the searcher is."""
    shown = [*places]
    if here is not None and _span(_flat([*places, here])) <= _FAR * _span(_flat(places)):
        shown.append(here)
    flat = _flat(shown)
    scale = (SIZE - 2 * MARGIN) / _span(flat)
    middle = [(min(axis) + max(axis)) / 2 for axis in zip(*flat, strict=True)]
    points = [(SIZE / 2 + (x - middle[0]) * scale, SIZE / 2 - (y - middle[1]) * scale) for x, y in flat]
    bar_km = _round_below(SIZE * 0.35 / scale)
    bar = bar_km * scale
    pins = list(_labelled(points[: len(places)]))
    lines = [bar * step for step in range(1, int(SIZE / bar) + 1)]
    return Drawing(pins, points[-1] if len(points) > len(places) else None, bar, bar_km, lines)


def _flat(places: Sequence[Place]) -> list[Point]:
    """Kilometres east and north of the first place; true enough for a country."""
    latitude, longitude = places[0]
    narrower = math.cos(math.radians(sum(place[0] for place in places) / len(places)))
    return [
        ((place[1] - longitude) * _KM_PER_DEGREE * narrower, (place[0] - latitude) * _KM_PER_DEGREE) for place in places
    ]


def _span(flat: Sequence[Point]) -> float:
    return max(_LEAST_KM, *(max(axis) - min(axis) for axis in zip(*flat, strict=True)))


def _round_below(value: float) -> float:
    """The greatest of 1, 2, 5, 10, ... (and 0.5, 0.2, ...) that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * max(step for step in (1, 2, 5) if step * power <= value)


def _labelled(points: Sequence[Point]) -> Iterator[Pin]:
    placed: list[Point] = []
    for point in points:
        label = next((at for at in _around(point) if all(math.dist(at, other) >= _APART for other in placed)), point)
        placed.append(label)
        yield Pin(point, label)


def _around(point: Point) -> Iterator[Point]:
    yield point
    for ring in range(1, 5):
        for eighth in range(8):
            turn, far = math.tau * eighth / 8, _APART * ring
            x, y = point[0] + far * math.sin(turn), point[1] - far * math.cos(turn)
            if MARGIN / 2 < x < SIZE - MARGIN / 2 and MARGIN / 2 < y < SIZE - MARGIN / 2:
                yield x, y
