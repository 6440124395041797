"""What five landmarks tell about depth.

Four points of a plane fix a homography, and the image of a fifth follows from it, however the plane is tilted, turned or
moved before a pinhole camera (Hartley & Zisserman, Multiple View Geometry, 2nd ed., 2.3 and 13.1). The eyes and the
corners of the mouth are nearly a plane; the tip of the nose stands 0.45 eye distances before it. So the nose, seen through
the homography of the other four, stays where it was on a flat picture, and moves by about 0.45 tan(yaw) on a head.

A homography and not an affine map: a picture held close and tilted shows perspective, which an affine map of the four
points would leave over as false parallax. The price, an exact fit with no averaging of noise, is paid by taking medians
over frames.

The 0.45: over the 4,506 photos of half of LFW, with YuNet's landmarks, parallax divided by the tangent of the yaw that the
narrowing of the quadrangle tells is 0.42 to 0.51 in every range of parallax. The generic head of the usual head pose
examples (S. Mallick 2016: nose tip 135 units before outer eye corners 450 apart, 90 mm) has 0.43.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Landmarks = NDArray[np.float32]
Series = NDArray[np.float64]

# A frontal face in eye distances, x towards the picture's right, y down, origin between the eyes: the median of LFW's frontal
# photos made symmetric. Order as YuNet gives it: right eye (the subject's, left in the picture), left eye, nose, mouth corners.
FRONTAL = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.54], [-0.43, 0.965], [0.43, 0.965]], np.float32)
NOSE_DEPTH = 0.45  # eye distances, see above
_QUAD = [0, 1, 4, 3]  # right eye, left eye, left corner, right corner: round the quadrangle
_MIN_AREA = 0.12  # of the square of its longest side; FRONTAL has 0.9, a turn of 75 degrees about 0.2


@dataclass(frozen=True)
class Track:
    """Measures of the usable frames, in order. `frames` int [n]: their indices in the sequence given.

    `yaw` float [n], degrees: the turn by which a nose of NOSE_DEPTH would have moved sideways as this one has, through the
    homography that takes the other four points to FRONTAL; positive: to the subject's left (the right of the picture).
    Of a flat picture it stays what it was. `aspect` float [n]: width to height of the quadrangle.
    `centre` float [n,2] and `size` float [n]: middle and root area of the quadrangle, px.
    """

    frames: NDArray[np.intp]
    yaw: Series
    aspect: Series
    centre: Series
    size: Series

    def __len__(self) -> int:
        return len(self.frames)


def track(frames: Sequence[Landmarks]) -> Track:
    """Measures each frame (float32 [5,2], px); leaves out those whose four points are no convex quadrangle the right way
    round, or so thin that the homography would only magnify noise. Raises ValueError for anything but finite [5,2]."""
    rows: list[tuple[float, ...]] = []
    used: list[int] = []
    for index, frame in enumerate(frames):
        points = np.asarray(frame, np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise ValueError("landmarks are five finite points: float32 [5,2]")
        area = _quadrangle_area(points[_QUAD].astype(np.float64))
        if area is None:
            continue
        homography = cv2.getPerspectiveTransform(points[_QUAD], FRONTAL[_QUAD])
        nose = cv2.perspectiveTransform(points[2].reshape(1, 1, 2), homography)[0, 0] - FRONTAL[2]
        yaw = float(np.degrees(np.arctan2(float(nose[0]), NOSE_DEPTH)))
        if not np.isfinite(yaw):
            continue
        eyes, mouth = points[1] - points[0], points[4] - points[3]
        down = (points[3] + points[4] - points[0] - points[1]) / 2
        aspect = float((np.linalg.norm(eyes) + np.linalg.norm(mouth)) / 2 / np.linalg.norm(down))
        rows.append((yaw, aspect, *points[_QUAD].mean(0), area**0.5))
        used.append(index)
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Track(np.array(used, np.intp), table[:, 0], table[:, 1], table[:, 2:4], table[:, 4])


def _quadrangle_area(quad: Series) -> float | None:
    """px^2; None when the quadrangle is not convex, the wrong way round, or too thin."""
    sides = np.roll(quad, -1, 0) - quad
    after = np.roll(sides, -1, 0)
    if (sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0] <= 0).any():
        return None
    x, y = quad[:, 0], quad[:, 1]
    area = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return area if area > _MIN_AREA * float((sides**2).sum(1).max()) else None


def median3(values: Series) -> Series:
    """Running median of three (ends repeated): one bad frame leaves no mark. float [n] -> float [n]."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))
