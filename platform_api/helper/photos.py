"""Photos of work: read with care, freed of everything but the picture, and known again when somebody sends them twice.

A photo is decoded and written anew as JPEG, so that no EXIF (place, owner's device), no preview and nothing hidden behind
the picture is kept. Known again are: the same file (SHA-256), and copies that were re-encoded, shrunk, brightened or
mirrored (`phash`).
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps
from sqlalchemy import text
from sqlalchemy.orm import Session

from ml_bentos.face.images import ImageProblem, decode_image
from platform_api.core.errors import Problem
from platform_api.helper import phash
from platform_api.helper.settings import settings

JPEG_QUALITY = 90
MOST = 5

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
        *phash.hashes(picture),
        phash.hashes(ImageOps.mirror(picture)),
    )


class TooSmall(Exception):
    """A photo with too few pixels to judge anything by."""


def near(one: Picture, other: Picture) -> bool:
    """Whether one is a copy of the other."""
    hashes_of = ((other.phash, other.phash_fine), other.mirrored)
    return any(phash.near(one.phash, one.phash_fine, coarse, fine) for coarse, fine in hashes_of)


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
    hashes_of = ((picture.phash, picture.phash_fine), picture.mirrored)
    found = any(phash.near_in_table(session, coarse, fine) for coarse, fine in hashes_of)
    return "near_copy" if found else None


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
