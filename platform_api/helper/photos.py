"""Photos of work: read with care, freed of everything but the picture, and known again when somebody sends them twice.

A photo is decoded and written anew as JPEG, so that no EXIF (place, owner's device), no preview and nothing hidden behind
the picture is kept. Known again are: the same file (SHA-256), and copies that were re-encoded, shrunk, brightened or
mirrored, by pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, in the DCT form
of the library imagehash). Two stages, because one is not enough: among 1,488 real photos of laundry, 300 pairs of
different photos lie within 10 of 64 bits (of 1.1 million pairs), so that in a few months of work an honest photo would
always find a double. All re-encoded copies lie within 10 bits, too, and within 26 of the 256 bits of the finer hash, where
the nearest two different photos are 48 apart. So: 64 bits find the candidates, 256 bits decide.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import imagehash
import numpy as np
from PIL import Image, ImageOps
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

from ml_bentos.face.images import ImageProblem, decode_image
from platform_api.core.errors import Problem
from platform_api.helper.settings import settings

NEAR_BITS = 10
"""Of 64: farther apart is no candidate."""
NEAR_BITS_FINE = 40
"""Of 256: farther apart is another picture."""
JPEG_QUALITY = 90
MOST = 5

_FINE_SIZE = 16

TEXTS: dict[str, tuple[str, str]] = {
    "not_an_image": ("사진 파일이 아닙니다. JPEG, PNG, WebP로 보내세요.", "Not a photo; send JPEG, PNG or WebP."),
    "image_truncated": ("사진 파일이 잘렸습니다. 다시 보내세요.", "The file is cut off; send it again."),
    "image_too_large": ("사진이 너무 큽니다. 줄여서 보내세요.", "The photo is too large; send a smaller one."),
    "image_animated": ("움직이는 이미지는 쓸 수 없습니다.", "An animated picture cannot be used."),
    "image_too_small": ("사진이 너무 작습니다. 원본을 보내세요.", "The photo is too small; send the original."),
    "same_file": ("이미 제출된 사진입니다. 새로 찍으세요.", "This photo was handed in before; take a new one."),
    "near_copy": (
        "이미 제출된 사진과 같은 사진입니다. 새로 찍으세요.",
        "A copy of a photo handed in before; take a new one.",
    ),
    "repeated": ("같은 사진이 두 번 들어 있습니다.", "The same photo is in this task twice."),
}


@dataclass(frozen=True)
class Picture:
    """A photo ready to be kept.

    Attributes:
        jpeg: upright, without metadata.
        sent_sha256, sha256: hex, of the file as it was sent, and of `jpeg`.
        phash, phash_fine: bit strings of 64 and 256; `mirrored`: the same of its mirror image.
    """

    jpeg: bytes = field(repr=False)
    sent_sha256: str
    sha256: str
    width: int
    height: int
    phash: str
    phash_fine: str
    mirrored: tuple[str, str]


def read(data: bytes) -> Picture:
    """Read, strip and hash one photo.

    Raises:
        ImageProblem: it cannot be used.
    """
    bgr = decode_image(data, max_bytes=settings().helper_photo_max_bytes)
    picture = Image.fromarray(np.ascontiguousarray(bgr[:, :, ::-1]))
    if min(picture.size) < settings().helper_photo_min_px:
        raise TooSmall
    picture.thumbnail((settings().helper_photo_max_px,) * 2, Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=JPEG_QUALITY, optimize=True)
    jpeg = written.getvalue()
    return Picture(
        jpeg,
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(jpeg).hexdigest(),
        *picture.size,
        *hashes(picture),
        hashes(ImageOps.mirror(picture)),
    )


class TooSmall(Exception):
    """A photo with too few pixels to judge anything by."""


def hashes(picture: Image.Image) -> tuple[str, str]:
    """pHash of 64 and of 256 bits, as strings of 0 and 1."""
    return _bits(imagehash.phash(picture)), _bits(imagehash.phash(picture, hash_size=_FINE_SIZE))


def _bits(found: imagehash.ImageHash) -> str:
    return "".join("1" if bit else "0" for bit in found.hash.ravel())


def distance(one: str, other: str) -> int:
    """In how many bits two strings of equal length differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def near(one: Picture, other: Picture) -> bool:
    """Whether one is a copy of the other."""
    for phash, fine in ((other.phash, other.phash_fine), other.mirrored):
        if distance(one.phash, phash) <= NEAR_BITS and distance(one.phash_fine, fine) <= NEAR_BITS_FINE:
            return True
    return False


def read_all(uploads: Sequence[bytes]) -> list[Picture]:
    """Read the photos of a task.

    Raises:
        Problem: 422 `photo_count`, `photo_rejected` with a reason for each bad one.
    """
    if not 1 <= len(uploads) <= MOST:
        raise Problem(
            422,
            "photo_count",
            f"사진을 1장에서 {MOST}장까지 보내세요.",
            f"Send one to {MOST} photos, as parts named photos.",
        )
    pictures: list[Picture] = []
    refused: list[dict[str, object]] = []
    for index, data in enumerate(uploads):
        try:
            picture = read(data)
        except ImageProblem as error:
            refused.append(refusal(index, error.code))
        except TooSmall:
            refused.append(refusal(index, "image_too_small"))
        else:
            if any(near(picture, earlier) for earlier in pictures):
                refused.append(refusal(index, "repeated"))
            pictures.append(picture)
    if refused:
        raise rejected(refused)
    return pictures


def refuse_reused(session: Session, pictures: Sequence[Picture]) -> None:
    """Compare with all photos of earlier tasks.

    Raises:
        Problem: 422 `photo_reused`, with a reason for each of them.
    """
    found = [(index, known_before(session, picture)) for index, picture in enumerate(pictures)]
    reused = [refusal(index, reason) for index, reason in found if reason is not None]
    if reused:
        raise Problem(
            422,
            "photo_reused",
            "전에 제출된 사진이 있습니다. 이번 작업을 새로 찍으세요.",
            "Photos of earlier work are among these; photograph the present work.",
            photos=reused,
        )


def known_before(session: Session, picture: Picture) -> str | None:
    """Why a photo counts as reused: `same_file`, `near_copy`; None where it is new."""
    same = text("SELECT 1 FROM photo WHERE sent_sha256 = :sent OR sha256 IN (:sent, :kept) LIMIT 1")
    if session.execute(same, {"sent": picture.sent_sha256, "kept": picture.sha256}).first():
        return "same_file"
    for phash, fine in ((picture.phash, picture.phash_fine), picture.mirrored):
        if session.execute(_NEAR, {"phash": phash, "fine": fine}).first():
            return "near_copy"
    return None


_NEAR = text(
    "SELECT 1 FROM photo WHERE bit_count(phash # CAST(:phash AS bit(64))) <= :near"
    " AND bit_count(phash_fine # CAST(:fine AS bit(256))) <= :near_fine LIMIT 1"
).bindparams(bindparam("near", NEAR_BITS), bindparam("near_fine", NEAR_BITS_FINE))


def rejected(refused: list[dict[str, object]]) -> Problem:
    """The problem document for photos that cannot be used."""
    return Problem(
        422, "photo_rejected", "쓸 수 없는 사진이 있습니다. 사유를 확인하세요.", "Some photos cannot be used; see why.",
        photos=refused,
    )  # fmt: skip


def refusal(index: int, reason: str) -> dict[str, object]:
    """What is told about one photo."""
    korean, english = TEXTS[reason]
    return {"index": index, "reason": reason, "message": korean, "message_en": english}
