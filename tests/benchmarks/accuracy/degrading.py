"""What spoils a frame at a gate, done to photos: out of focus, too little light, too far away, compressed too much."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
# LFW's faces are about so wide, in pictures of 250 x 250.
FACE_PX = 95
READ_NOISE = 1.5


def blurred(sigma: float) -> Callable[[Image], Image]:
    """Out of focus: a Gaussian of `sigma` px."""
    return lambda bgr: np.asarray(cv2.GaussianBlur(bgr, (0, 0), sigma), np.uint8)


def darker(stops: float) -> Callable[[Image], Image]:
    """Less light by `stops` (halvings, in linear light), with a sensor's read noise; the same for the same photo."""

    def spoil(bgr: Image) -> Image:
        linear = (bgr.astype(np.float32) / 255) ** 2.2 / 2**stops
        noise = np.random.default_rng(int(bgr.sum())).normal(0, READ_NOISE, bgr.shape)
        return np.clip(255 * linear ** (1 / 2.2) + noise, 0, 255).astype(np.uint8)

    return spoil


def smaller(width: int) -> Callable[[Image], Image]:
    """Further away: the face about `width` px wide."""
    share = width / FACE_PX
    return lambda bgr: np.asarray(cv2.resize(bgr, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def compressed(quality: int) -> Callable[[Image], Image]:
    """JPEG of this quality, 1..100."""

    def spoil(bgr: Image) -> Image:
        packed = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)

    return spoil


WAYS: dict[str, Callable[[Image], Image]] = {
    "": lambda bgr: bgr,
    "blurred, sigma 1.5 px": blurred(1.5),
    "blurred, sigma 3 px": blurred(3.0),
    "dark, 3 stops": darker(3),
    "dark, 5 stops": darker(5),
    "small, face 48 px": smaller(48),
    "small, face 32 px": smaller(32),
    "JPEG quality 20": compressed(20),
    "JPEG quality 5": compressed(5),
}
