"""The crop that passive liveness looks at: the face with its surroundings, where the edge of a photo or a screen shows.

Kept apart from the networks because its geometry decides their input: the networks were trained on exactly these crops.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = NDArray[np.uint8]


def crop_box(frame_width: int, frame_height: int, box: NDArray[np.float32], scale: float) -> tuple[int, int, int, int]:
    """-> (left, top, right, bottom), px of the frame, right and bottom inclusive.

    `box`: x, y, width, height in px; it may reach beyond the frame, as detectors' boxes do.

    Source: `CropImage._get_new_box` of Silent-Face-Anti-Spoofing (Minivision, Apache-2.0), written anew from its rule: the
    box grows by `scale` about its centre; the scale is limited so that the crop is no larger than the frame in either
    direction (so the crop keeps the shape of the box); a crop that would stick out is shifted back inside, not cut.

    Raises ValueError when frame or box is empty or not finite.
    """
    if frame_width < 2 or frame_height < 2:
        raise ValueError("the frame is empty")
    x, y, width, height = (float(v) for v in box)
    if not np.isfinite((x, y, width, height)).all() or width <= 0 or height <= 0:
        raise ValueError("the face box is empty")
    scale = min((frame_height - 1) / height, (frame_width - 1) / width, scale)
    left, right = _inside(x + width / 2, width * scale, frame_width - 1)
    top, bottom = _inside(y + height / 2, height * scale, frame_height - 1)
    return left, top, right, bottom


def _inside(centre: float, length: float, last: int) -> tuple[int, int]:
    """The interval of `length` about `centre`, shifted into 0..last, in whole pixels."""
    low, high = centre - length / 2, centre + length / 2
    if low < 0:
        low, high = 0.0, high - low
    if high > last:
        low, high = low - (high - last), float(last)
    return max(int(low), 0), min(int(high), last)


def crop(bgr: Bgr, box: NDArray[np.float32], scale: float, size: int) -> Bgr:
    """The square input of a network: uint8 [size,size,3], the crop of `crop_box` resized bilinearly (aspect not kept)."""
    left, top, right, bottom = crop_box(bgr.shape[1], bgr.shape[0], box, scale)
    return np.asarray(cv2.resize(bgr[top : bottom + 1, left : right + 1], (size, size)), np.uint8)
