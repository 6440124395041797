"""Enrolment photos: what is asked of each, what a member is told, and what is kept of them.

Kept is a generous crop around the face, so that a later model can embed it again, and never the photo: no background,
no EXIF, nobody else in the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml_bentos.face import Face, FaceModel
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.quality import Quality, assess
from ml_bentos.face.template import alike, make_template
from ml_bentos.face.thresholds import Thresholds
from platform_api.auth.settings import settings

JPEG_QUALITY = 95
CROP_MARGIN = 1.0
"""The crop is the face's box, and this much of its longer side around it."""

TEXTS: dict[str, tuple[str, str]] = {
    "not_an_image": ("사진 파일이 아닙니다. JPEG, PNG, WebP로 보내세요.", "Not a photo; send JPEG, PNG or WebP."),
    "image_truncated": ("사진 파일이 잘렸습니다. 다시 보내세요.", "The file is cut off; send it again."),
    "image_too_large": ("사진이 너무 큽니다. 줄여서 보내세요.", "The photo is too large; send a smaller one."),
    "image_animated": ("움직이는 이미지는 쓸 수 없습니다.", "An animated picture cannot be used."),
    "no_face": ("얼굴이 보이지 않습니다. 얼굴이 나오게 찍으세요.", "No face found; face the camera."),
    "several_faces": ("여러 얼굴이 보입니다. 혼자 찍으세요.", "More than one face; be alone in the picture."),
    "face_too_small": ("얼굴이 너무 작습니다. 더 가까이서 찍으세요.", "The face is too small; come closer."),
    "blurred": ("사진이 흐립니다. 흔들리지 않게 찍으세요.", "The photo is blurred; hold still."),
    "too_dark": ("너무 어둡습니다. 밝은 곳에서 찍으세요.", "Too dark; find more light."),
    "too_bright": ("너무 밝습니다. 빛을 등지거나 피하세요.", "Too bright; turn away from the light."),
    "turned_away": ("얼굴이 돌아가 있습니다. 정면을 보세요.", "The face is turned away; look straight ahead."),
    "different_person": (
        "다른 사진들과 같은 사람으로 보이지 않습니다.",
        "It does not look like the person in the others.",
    ),
}
_UNKNOWN = ("사진을 쓸 수 없습니다. 다시 찍으세요.", "The photo cannot be used; take another.")


@dataclass
class Verdict:
    """What became of one photo. `quality` holds the measured figures, in px, degrees and grey values."""

    index: int
    reasons: list[str] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether the photo serves."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """For the caller, with what to do in Korean and English."""
        texts = [TEXTS.get(reason, _UNKNOWN) for reason in self.reasons]
        return {
            "index": self.index,
            "accepted": self.accepted,
            "reasons": self.reasons,
            "quality": self.quality,
            "message": " ".join(korean for korean, _ in texts) or None,
            "message_en": " ".join(english for _, english in texts) or None,
        }


@dataclass
class Examined:
    """All photos of one enrolment.

    template: float32 [k, dim], None where no photo serves; crops: (index, JPEG) of those that do; seen: the pictures
    themselves and the face in each.
    """

    verdicts: list[Verdict]
    template: NDArray[np.float32] | None
    crops: list[tuple[int, bytes]] = field(repr=False)
    model_version: str
    seen: list[tuple[NDArray[np.uint8], Face]] = field(repr=False)

    def under(self, model: FaceModel) -> NDArray[np.float32]:
        """The template of the same photos under another model, float32 [k, dim of that model]."""
        return make_template([model.embed(picture, face) for picture, face in self.seen])


def examine(photos: Sequence[bytes], model: FaceModel, thresholds: Thresholds) -> Examined:
    """Judge photos, each by itself and then against the others; the good ones make the template."""
    verdicts = [Verdict(index) for index in range(len(photos))]
    found: list[tuple[Verdict, NDArray[np.float32], tuple[NDArray[np.uint8], Face]]] = []
    for verdict, data in zip(verdicts, photos, strict=True):
        seen = _look(data, verdict, model)
        if seen is not None:
            found.append((verdict, model.embed(*seen), seen))
    for (verdict, _, _), same in zip(found, alike([vector for _, vector, _ in found], thresholds), strict=True):
        if not same:
            verdict.reasons.append("different_person")
    kept = [item for item in found if item[0].accepted]
    template = make_template([vector for _, vector, _ in kept]) if kept else None
    crops = [(verdict.index, crop(*seen)) for verdict, _, seen in kept]
    return Examined(verdicts, template, crops, model.version, [seen for _, _, seen in kept])


def check(data: bytes, model: FaceModel) -> Verdict:
    """Judge one photo by itself, as an enrolment would; nothing of it is kept."""
    verdict = Verdict(0)
    _look(data, verdict, model)
    return verdict


def _look(data: bytes, verdict: Verdict, model: FaceModel) -> tuple[NDArray[np.uint8], Face] | None:
    try:
        picture = decode_image(data, max_bytes=settings().face_photo_max_bytes)
    except ImageProblem as problem:
        verdict.reasons.append(problem.code)
        return None
    judged = assess(picture, model.detect(picture), purpose="enrol")
    verdict.reasons.extend(judged.reasons)
    verdict.quality = _figures(judged)
    if not judged.ok or judged.face is None:
        return None
    return picture, judged.face


def _figures(judged: Quality) -> dict[str, float]:
    if judged.face is None:
        return {}
    names = ("size_px", "sharpness", "yaw", "pitch", "roll", "brightness")
    return {name: round(float(getattr(judged, name)), 1) for name in names}


def crop(picture: NDArray[np.uint8], face: Face) -> bytes:
    """The face with its surroundings, as JPEG, its longer side at most `face_crop_max_px`."""
    x, y, width, height = (float(value) for value in face.box)
    half = max(width, height) * (0.5 + CROP_MARGIN)
    middle_x, middle_y = x + width / 2, y + height / 2
    left, top = max(0, round(middle_x - half)), max(0, round(middle_y - half))
    right = min(picture.shape[1], round(middle_x + half))
    bottom = min(picture.shape[0], round(middle_y + half))
    part = picture[top:bottom, left:right]
    scale = settings().face_crop_max_px / max(part.shape[:2])
    if scale < 1:
        part = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    done, jpeg = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError("the crop cannot be encoded")
    return bytes(jpeg.tobytes())
