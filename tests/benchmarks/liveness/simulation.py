"""Heads and pictures before a pinhole camera, as landmark sequences: what the limits of active liveness are chosen on.

The head: eyes, nose and mouth corners in eye distances. x and y are the medians of LFW's frontal photos by YuNet; the depth
of the nose, 0.45, and the source it is checked against are told in ml_bentos/face/liveness/geometry.py. It varies from head
to head, turns about an axis 1.6 eye distances (10 cm) behind the eyes, nods, rolls and sways as people do. The pictures are
the same points made flat (or bent to a cylinder) and moved as freely as a hand can. Units: eye distance 1 = 63 mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.54, -0.45], [-0.43, 0.965, -0.02], [0.43, 0.965, -0.02]])
HEAD_SPREAD = np.array([[0.02, 0.02, 0.02]] * 5) + np.array([[0, 0, 0]] * 2 + [[0.01, 0.02, 0.04]] + [[0, 0, 0]] * 2)
NECK = np.array([0.0, 0.3, 1.6])


@dataclass(frozen=True)
class Camera:
    """`noise`: standard deviation of a landmark in eye distances of the frontal face, each frame by itself."""

    focal: float = 800.0
    noise: float = 0.02


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Points:
    """Degrees. Positive yaw: to the subject's left (the picture's right); positive pitch: up."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def project(
    shape: Points, turn: Points, place: Points, camera: Camera, rng: np.random.Generator, pivot: Points = NECK
) -> Points:
    """[5,3] -> float32 [5,2] px: turned about `pivot`, moved to `place` (z = distance), projected, with noise."""
    points = (shape - pivot) @ turn.T + pivot + place
    pixels = camera.focal * points[:, :2] / points[:, 2:] + np.array([320, 240])
    eye_distance = camera.focal / place[2]
    return (pixels + rng.normal(0, camera.noise * eye_distance, (5, 2))).astype(np.float32)


def path(frames: int, rng: np.random.Generator, returns: bool) -> Points:
    """0 -> 1 (-> 0.2), smooth, with a still start: share of the movement in each frame."""
    still = max(2, int(frames * rng.uniform(0.15, 0.3)))
    moving = frames - still
    ease = (1 - np.cos(np.pi * np.linspace(0, 1, moving))) / 2
    if returns and moving > 10:
        back = moving // 3
        ease = np.concatenate([(1 - np.cos(np.pi * np.linspace(0, 1, moving - back))) / 2, np.linspace(1, 0.2, back)])
    return np.concatenate([np.zeros(still), ease])


def wander(frames: int, size: float, rng: np.random.Generator) -> Points:
    """A slow drift of about `size`, starting anywhere."""
    phase, rate = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
    return size * rng.uniform(0.3, 1) * np.sin(phase + rate * 2 * np.pi * np.linspace(0, 1, frames))


def head(
    side: str, rng: np.random.Generator, camera: Camera, degrees: float | None = None, frames: int | None = None
) -> list[Points]:
    """A living head that turns to `side`: 30 to 45 degrees, as asked, unless told."""
    count = frames or int(rng.integers(8, 26))
    shape = HEAD + rng.normal(0, 1, HEAD.shape) * HEAD_SPREAD
    shape[2, 2] = min(shape[2, 2], -0.3)
    peak = (degrees if degrees is not None else rng.uniform(30, 45)) * (1 if side == "left" else -1)
    yaw = rng.normal(0, 4) + peak * path(count, rng, rng.random() < 0.5) + rng.normal(0, 0.5, count)
    pitch = rng.normal(0, 6) + wander(count, 5, rng)
    roll = rng.normal(0, 4) + wander(count, 5, rng)
    distance = rng.uniform(7, 16)
    sway = np.stack([wander(count, 0.5, rng), wander(count, 0.3, rng), distance + wander(count, 0.6, rng)], 1)
    return [project(shape, rotation(yaw[i], pitch[i], roll[i]), sway[i], camera, rng) for i in range(count)]


KINDS = ("still", "tilt", "swing", "near", "bent", "bending", "turned", "cut")


def picture(kind: str, rng: np.random.Generator, camera: Camera, frames: int | None = None) -> list[Points]:
    """A flat attack. Kinds: still; tilt (30 to 60 degrees about the upright axis); swing (any axis); near (tilted at 15 to
    25 cm); bent (a cylinder of 5 to 15 cm radius, turned); bending (flat at first, bent while turned); turned (a picture of
    a turned face); cut (a frontal picture, then in its place a picture of the same face turned 25 to 45 degrees)."""
    count = frames or int(rng.integers(8, 26))
    shape = HEAD + rng.normal(0, 1, HEAD.shape) * HEAD_SPREAD
    sign = rng.choice([-1, 1])
    first, second = (flatten(shape, sign * degrees) for degrees in (rng.normal(0, 4), rng.uniform(25, 45)))
    share = path(count, rng, rng.random() < 0.5)
    small = kind in ("still", "turned", "cut")
    peak = 3.0 if small else rng.uniform(25, 50) if kind.startswith("ben") else rng.uniform(30, 60)
    yaw, pitch, roll = rng.choice([-1, 1]) * peak * share, wander(count, 5, rng), wander(count, 6, rng)
    if kind == "swing":
        pitch, roll = rng.uniform(-35, 35) * share, rng.uniform(-40, 40) * share
    distance = rng.uniform(2.5, 4) if kind == "near" else rng.uniform(5, 14)
    sway = np.stack(
        [wander(count, 0.5, rng), wander(count, 0.4, rng), distance + wander(count, 0.1 * distance, rng)], 1
    )
    radius = rng.uniform(0.8, 2.4)
    track = []
    for i in range(count):
        points = second if kind == "turned" or (kind == "cut" and share[i] > 0.3) else first
        bend = {"bent": 1.0, "bending": share[i]}.get(kind, 0.0)
        if bend > 0.05:
            points = curved(points, radius / bend)
        track.append(project(points, rotation(yaw[i], pitch[i], roll[i]), sway[i], camera, rng, np.zeros(3)))
    return track


def flatten(shape: Points, yaw: float) -> Points:
    """A picture of the head turned by `yaw` degrees, taken from afar. [5,3] -> [5,3] with z = 0."""
    return (shape @ rotation(yaw).T) * np.array([1, 1, 0])


def curved(flat: Points, radius: float) -> Points:
    """The flat points on an upright cylinder of `radius`, bulging towards the camera; lengths along the paper are kept."""
    angle = flat[:, 0] / radius
    return np.stack([radius * np.sin(angle), flat[:, 1], radius * (1 - np.cos(angle))], 1)
