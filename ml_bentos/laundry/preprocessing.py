"""From a photo to the network's input: the whole picture, undistorted, in the range the network was trained on.

Letterboxed instead of cropped, since a sleeve at the border may be what the verdict hangs on.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIZE = 224
"""Pixels of a side; what EfficientNet-Lite0 was trained on (Tan, "EfficientNet-Lite", TensorFlow model garden, 2020)."""
MEAN, SCALE = 127.0, 128.0
FILL = 127
"""Grey of the borders: zero after normalisation."""


def mirrored(bgr: Image) -> Image:
    """The mirror image of uint8[h, w, 3]."""
    return np.asarray(cv2.flip(bgr, 1), np.uint8)


def letterbox(bgr: Image, size: int = SIZE) -> Image:
    """uint8[h, w, 3] -> uint8[size, size, 3]: scaled to fit, in the middle, the rest filled with grey."""
    height, width = bgr.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(bgr, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.full((size, size, 3), FILL, np.uint8)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = small
    return canvas


def tensor(bgr: Image) -> Float32:
    """uint8[h, w, 3] BGR -> float32[1, 3, 224, 224] RGB, (x - 127) / 128."""
    return np.asarray(
        cv2.dnn.blobFromImage(letterbox(bgr), 1 / SCALE, mean=(MEAN, MEAN, MEAN), swapRB=True), np.float32
    )
