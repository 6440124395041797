"""QR codes before the kiosk's camera."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import zxingcpp

from access_edge.frames import Image

# Three parts of base64url: how a pass is written. Whether it is one is for `qr.verify` to say.
_PASS = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True)
class Code:
    """What a code says. `pass_like`: it is written as a pass is; a poster's address is not."""

    text: str
    pass_like: bool


def read_codes(bgr: Image) -> list[Code]:
    """The QR codes in uint8[h, w, 3] BGR, those first that may be passes."""
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    wanted = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    found = zxingcpp.read_barcodes(grey, formats=wanted)
    codes = [Code(code.text, _PASS.fullmatch(code.text) is not None) for code in found if code.text]
    return sorted(codes, key=lambda code: not code.pass_like)
