"""Photos that are copies of each other though not the same file: re-encoded, shrunk, brightened, mirrored.

64-bit pHash in the DCT form of imagehash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
Within 10 bits lie all copies and now and then a different photo; a photo too few in training costs less than one that
the test has seen. (What is handed in is compared by a second, finer hash as well: there an honest photo must not be refused.)
"""

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from ml_bentos.laundry.preprocessing import Image

NEAR_BITS = 10
"""Of 64."""

Hashes = NDArray[np.uint64]


def hashes(bgr: Image) -> tuple[str, str]:
    """The pHash of a photo and of its mirror image, 16 hex digits each. bgr: uint8[h, w, 3]."""
    picture = Pillow.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))
    # The hash looks at 32 pixels a side; converting millions of them to grey takes longer than all the rest.
    picture.thumbnail((256, 256), Pillow.Resampling.BOX)
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
