"""Distances on the globe, near enough for finding a gym."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RADIUS_KM = 6371.0088
_KM_PER_DEGREE = math.pi * _RADIUS_KM / 180


@dataclass(frozen=True)
class Box:
    """Degrees; never across the date line."""

    south: float
    west: float
    north: float
    east: float

    def wider(self, factor: float) -> "Box":
        """The box of the same middle, `factor` times as wide and as high."""
        high, wide = (self.north - self.south) / 2 * (factor - 1), (self.east - self.west) / 2 * (factor - 1)
        return Box(max(-90.0, self.south - high), self.west - wide, min(90.0, self.north + high), self.east + wide)


def kilometres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance (haversine formula)."""
    a, b = math.radians(latitude), math.radians(other_latitude)
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    return 2 * _RADIUS_KM * math.asin(math.sqrt(min(1.0, half)))


def distances(
    latitude: float, longitude: float, latitudes: NDArray[Any], longitudes: NDArray[Any]
) -> NDArray[np.float64]:
    """As `kilometres`, to many points: float64[n]."""
    a, b = np.radians(latitude), np.radians(latitudes)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(longitudes - longitude) / 2) ** 2
    return np.asarray(2 * _RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, half))))


def around(latitude: float, longitude: float, km: float) -> Box:
    """The smallest box that holds the circle of radius `km`."""
    high = km / _KM_PER_DEGREE
    wide = min(180.0, high / max(0.01, math.cos(math.radians(latitude))))
    return Box(max(-90.0, latitude - high), longitude - wide, min(90.0, latitude + high), longitude + wide)
