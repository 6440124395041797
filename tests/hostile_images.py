"""Pictures that mean harm, or are merely odd, and what should become of each; made anew each time, from noise alone."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, PngImagePlugin

SIZE = (640, 480)
Fate = Literal["taken", "refused", "either"]
"""`taken`: an honest photo in an odd form; `refused`: never; `either`: harmless as a picture, and may be too little for one."""


@dataclass(frozen=True)
class Odd:
    """A file. `lie`: a word in it that must be in nothing that is served or kept; empty where there is none."""

    name: str
    data: bytes
    fate: Fate
    lie: bytes = b""


def photo(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture like no other, coarse enough to look like something."""
    grid = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    """The file."""
    written = io.BytesIO()
    picture.save(written, form, **options)
    return written.getvalue()


def all_of(seed: int = 0) -> list[Odd]:
    """All of them, about one picture: with another seed none is a copy of what was sent before."""
    return [*_odd_but_honest(seed), *_two_faced(seed), *_never_photos()]


@functools.cache
def _never_photos() -> tuple[Odd, ...]:
    return (*_broken(), *_bombs(), *_no_pictures())


def _odd_but_honest(seed: int) -> Iterator[Odd]:
    number = iter(range(seed * 1000, seed * 1000 + 1000))

    def new() -> Image.Image:
        return photo(next(number))

    yield Odd("CMYK", encoded(new().convert("CMYK"), "JPEG"), "taken")
    yield Odd("grey", encoded(new().convert("L"), "JPEG"), "taken")
    yield Odd("progressive", encoded(new(), "JPEG", progressive=True), "taken")
    yield Odd("16 bits a channel", _png(*SIZE, 16, 0, np.random.default_rng(seed).bytes(SIZE[0] * 2) * SIZE[1], SIZE[0] * 2), "either")  # fmt: skip
    yield Odd("palette with transparency", encoded(new().convert("P"), "PNG", transparency=0), "taken")
    yield Odd("half transparent", encoded(new().convert("RGBA"), "WEBP"), "taken")
    for orientation in (3, 6, 8):
        yield Odd(f"EXIF-rotated {orientation}", encoded(new(), "JPEG", exif=_exif(orientation)), "taken")
    yield Odd("an orientation that is none", encoded(new(), "JPEG", exif=_exif(77)), "either")
    yield Odd("damaged EXIF", _with_segment(encoded(new(), "JPEG"), 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"), "either")
    yield Odd("where it was taken", encoded(new(), "JPEG", exif=_exif(1, place=True)), "taken", b"PhoneMaker")


def _broken() -> Iterator[Odd]:
    for form in ("JPEG", "PNG", "WEBP"):
        whole = encoded(photo(500), form)
        for share in (0.02, 0.5, 0.95):
            yield Odd(f"{form} cut off at {share:.0%}", whole[: int(len(whole) * share)], "refused")
    whole = encoded(photo(501), "JPEG")
    yield Odd("segment longer than the file", whole[:2] + b"\xff\xe1\xff\xff" + whole[2:200], "refused")
    spoilt = bytearray(encoded(photo(502), "PNG"))
    spoilt[60:64] = b"\0\0\0\0"
    yield Odd("a PNG whose sums are wrong", bytes(spoilt), "refused")
    yield Odd("empty", b"", "refused")
    yield Odd("zeroes", bytes(4096), "refused")
    yield Odd("no pixels", _png(0, 0, 8, 2, b"", 0), "refused")
    yield Odd("one pixel", encoded(photo(1, (1, 1)), "PNG"), "either")
    yield Odd("a line", encoded(photo(2, (4000, 1)), "PNG"), "either")


def _bombs() -> Iterator[Odd]:
    yield Odd("claims 60,000 x 60,000", _png(60_000, 60_000, 8, 2, bytes(1000), 0), "refused")
    yield Odd("36 million black pixels", _png(6_000, 6_000, 8, 0, bytes(6_000 * 6_000), 6_000), "refused")
    yield Odd("a JPEG that claims 65,000 x 65,000", _resized_jpeg(encoded(photo(3), "JPEG"), 65_000, 65_000), "refused")  # fmt: skip
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "0" * 900_000, zip=True)
    yield Odd("text that swells", encoded(photo(600), "PNG", pnginfo=text), "either")
    swelling = b"icc\0\0" + zlib.compress(bytes(50_000_000))
    yield Odd("a colour profile that swells", _with_chunk(encoded(photo(601), "PNG"), b"iCCP", swelling), "either")  # fmt: skip
    flat = encoded(Image.new("RGB", (5000, 5000), (90, 90, 90)), "JPEG", progressive=True)
    last = flat[flat.rindex(b"\xff\xda") : -2]
    yield Odd("ten thousand passes over 25 million pixels", flat[:-2] + last * 10_000 + flat[-2:], "refused")
    frames = [photo(610 + n, (300, 300)) for n in range(3)]
    for form in ("GIF", "PNG", "WEBP"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:] * 20, duration=10)
        yield Odd(f"animated {form}", data, "refused")


def _two_faced(seed: int) -> Iterator[Odd]:
    script = b"<script>alert('hostile')</script>"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("hostile.js", "alert(1)")
    picture = encoded(photo(seed * 1000 + 700), "JPEG")
    yield Odd("JPEG and ZIP", picture + packed.getvalue(), "either", b"hostile")
    yield Odd("JPEG and HTML", encoded(photo(seed * 1000 + 701), "JPEG", comment=script), "taken", b"hostile")
    yield Odd("PNG and HTML", encoded(photo(seed * 1000 + 702), "PNG", pnginfo=_words(script)), "taken", b"hostile")
    yield Odd("GIF and script", b"GIF89a/*" + bytes(50) + b"*/=1;alert('hostile')", "refused")
    yield Odd(
        "JPEG and PDF", encoded(photo(seed * 1000 + 703), "JPEG", comment=b"%PDF-1.7 hostile"), "taken", b"hostile"
    )


def _no_pictures() -> Iterator[Odd]:
    yield Odd("SVG", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "refused")
    yield Odd(
        "SVG that reads files", b"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>", "refused"
    )
    yield Odd("HTML", b"<!doctype html><script>alert(1)</script>", "refused")
    yield Odd("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n", "refused")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeroes", bytes(20_000_000))
    yield Odd("ZIP", packed.getvalue(), "refused")
    for form in ("TIFF", "BMP", "ICO", "TGA", "PPM"):
        yield Odd(form, encoded(photo(800, (128, 128)), form), "refused")


def _words(script: bytes) -> PngImagePlugin.PngInfo:
    held = PngImagePlugin.PngInfo()
    held.add_text("Title", script.decode())
    return held


def _exif(orientation: int, place: bool = False) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if place:
        exif[0x010F] = "PhoneMaker"
        exif.get_ifd(0x8825)[1] = "N"
    return exif


def _with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    return jpeg[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _resized_jpeg(jpeg: bytes, width: int, height: int) -> bytes:
    """The same file with another size in its frame header (SOF0)."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """One more chunk behind the header, which is 33 bytes long with the signature."""
    return png[:33] + _chunk(kind, body) + png[33:]


def _png(width: int, height: int, depth: int, colour: int, pixels: bytes, row: int) -> bytes:
    """A PNG as its header says it; `pixels` in rows of `row` bytes (0: as they are)."""
    rows = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row)) if row else pixels
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
