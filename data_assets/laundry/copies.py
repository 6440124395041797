"""Photos that are copies of each other though not the same file: re-encoded, shrunk, brightened, mirrored.

64-bit pHash in the DCT form of imagehash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
Within 10 bits lie all copies and now and then a different photo; a photo too few in training costs less than one that
the test has seen. (What is handed in is compared by a second, finer hash as well: there an honest photo must not be refused.)
"""

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from ml_bentos.laundry.preprocessing import Image

NEAR_BITS = 10
"""Of 64."""
SIDE = 256
"""Pixels of the longer side that is hashed."""

Hashes = NDArray[np.uint64]


def hashes(bgr: Image) -> tuple[str, str]:
    """The pHash of a photo and of its mirror image, 16 hex digits each. bgr: uint8[h, w, 3]."""
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    # The hash looks at 32 pixels a side, and Pillow takes longer over millions of them than OpenCV, which holds up no thread.
    scale = SIDE / max(grey.shape)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in reversed(grey.shape)]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    picture = Pillow.fromarray(grey)
    return str(imagehash.phash(picture)), str(imagehash.phash(ImageOps.mirror(picture)))


def packed(digits: list[str]) -> Hashes:
    """uint64[n] of hex digits."""
    return np.array([int(each, 16) for each in digits], np.uint64)


def near_any(asked: Hashes, known: Hashes, bits: int = NEAR_BITS) -> NDArray[np.bool_]:
    """bool[n]: whether each of `asked` (uint64[n]) lies within `bits` of one of `known` (uint64[m])."""
    found = np.zeros(len(asked), bool)
    for start in range(0, len(asked), 1024):
        part = asked[start : start + 1024, None] ^ known[None]
        found[start : start + 1024] = (np.bitwise_count(part) <= bits).any(1) if len(known) else False
    return found
