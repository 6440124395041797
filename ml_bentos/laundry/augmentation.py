"""Views of a photo that a phone might have taken as well: a little nearer, tilted, brighter, of another white; or mirrored.

Seeded by the photo's own hash, so that the same data set gives the same views wherever and however often they are made.
"""

import cv2
import numpy as np

from ml_bentos.laundry.preprocessing import Image, mirrored

VIEWS = 6
"""Views of a photo: as it is, mirrored, and four at random."""
TILT_DEGREES = 12.0
NEARER = (0.75, 1.0)
"""Share of each side that is kept."""
GAIN, WHITE, GAMMA = 0.25, 0.08, 0.25
"""How far brightness, each colour and gamma may go, either way, as a share."""


def views(bgr: Image, sha256: str, count: int = VIEWS) -> list[Image]:
    """`count` pictures, uint8[h, w, 3]: the photo itself, its mirror image, then views at random. sha256: hex, the seed."""
    rng = np.random.default_rng(int(sha256[:16], 16))
    made = [bgr, mirrored(bgr)]
    # Scaled down first: the network sees 224 pixels, and turning a photo of 12 megapixels costs a second.
    scale = 448 / max(bgr.shape[:2])
    small = bgr
    if scale < 1:
        small = np.asarray(cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    while len(made) < count:
        made.append(_at_random(small, rng))
    return made[:count]


def _at_random(bgr: Image, rng: np.random.Generator) -> Image:
    height, width = bgr.shape[:2]
    share = rng.uniform(*NEARER)
    middle = [rng.uniform(share / 2, 1 - share / 2) * side for side in (width, height)]
    turn = cv2.getRotationMatrix2D((middle[0], middle[1]), rng.uniform(-TILT_DEGREES, TILT_DEGREES), 1 / share)
    turn[:, 2] += np.array([width / 2 - middle[0], height / 2 - middle[1]])
    moved = cv2.warpAffine(bgr, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    seen = np.asarray(moved, np.uint8)
    if rng.random() < 0.5:
        seen = mirrored(seen)
    # Of each colour's 256 values, and not of each pixel's: it is the same picture.
    light = (np.arange(256, dtype=np.float32) / 255) ** np.float32(1 + rng.uniform(-GAMMA, GAMMA))
    gain = (1 + rng.uniform(-GAIN, GAIN)) * (1 + rng.uniform(-WHITE, WHITE, 3)).astype(np.float32)
    table = (np.clip(light[:, None] * gain, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(seen, table[None]), np.uint8)
