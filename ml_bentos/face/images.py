"""Pictures from outside: refused before they can do harm, upright before they are looked at.

Bytes, format, pixel count and scans are checked before anything is decoded (a 20,000 x 20,000 PNG is small on the wire and
gigabytes in memory; a progressive JPEG of 190 kB can take half a minute). Decoding is by Pillow, since it tells a truncated file where others fill in grey.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

from ml_bentos.face.alignment import Image

MAX_BYTES = 15_000_000
MAX_PIXELS = 25_000_000
# Of a JPEG: cameras and encoders write ten at the most. Each one takes a pass over all pixels, and a pass costs 14 bytes to ask for.
MAX_SCANS = 64
_START_OF_SCAN = b"\xff\xda"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# What Pillow's readers raise on damaged data.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)

_TEXTS = {
    "not_an_image": (
        "사진 파일이 아닙니다. JPEG, PNG 또는 WebP 사진을 보내 주세요.",
        "This is not a picture. Please send a JPEG, PNG or WebP photo.",
    ),
    "image_truncated": (
        "사진 파일이 중간에 끊겼습니다. 다시 보내 주세요.",
        "The picture file is cut off or damaged. Please send it again.",
    ),
    "image_too_large": (
        "사진이 너무 큽니다. 더 작은 사진을 보내 주세요.",
        "The picture is too large. Please send a smaller one.",
    ),
    "image_animated": (
        "움직이는 사진은 받을 수 없습니다. 한 장의 사진을 보내 주세요.",
        "Animated pictures are not accepted. Please send a single photo.",
    ),
}


class ImageProblem(ValueError):
    """A picture that is refused. code: not_an_image, image_truncated, image_too_large or image_animated."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.detail_ko, self.detail_en = _TEXTS[code]
        super().__init__(f"{code}: {self.detail_en}")


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image:
    """Decode a JPEG, PNG or WebP file to uint8[h, w, 3] BGR, turned upright by its EXIF orientation.

    Raises ImageProblem: more than `max_bytes` bytes or `max_pixels` pixels (read from the header, nothing is decoded),
    not a picture of these formats, cut off, or animated.
    """
    if len(data) > max_bytes:
        raise ImageProblem("image_too_large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            picture = PILImage.open(io.BytesIO(data), formats=FORMATS)
    except PILImage.DecompressionBombError:
        raise ImageProblem("image_too_large") from None
    except _DAMAGED:
        raise ImageProblem("not_an_image") from None
    with picture:
        width, height = picture.size
        if width < 1 or height < 1:
            raise ImageProblem("not_an_image")
        if width * height > max_pixels:
            raise ImageProblem("image_too_large")
        if picture.format in ("JPEG", "MPO") and data.count(_START_OF_SCAN) > MAX_SCANS:
            raise ImageProblem("image_truncated")
        try:
            # A phone's MPO (a JPEG with a preview behind it) has frames too, but the first is the photo.
            animated = picture.format in ("GIF", "PNG", "WEBP") and getattr(picture, "is_animated", False)
            if not animated and picture.format != "GIF":
                picture.load()
                rgb = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
        except _DAMAGED:
            raise ImageProblem("image_truncated") from None
        if animated:
            raise ImageProblem("image_animated")
        if picture.format == "GIF":
            raise ImageProblem("not_an_image")
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
