"""Frames in which a person knew a member whom a gate had refused: what the face model has yet to learn.

Access keeps such a frame for a few days; the crop of the face in it is kept here for longer, and only for teaching: of
members who are enrolled and agree to that, a few of each, sealed among their crops. It is never in a gallery. A manager may
have named the wrong member, so the face must at least not be a clearly different one under the model in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos.face import FaceModel
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.quality import assess
from ml_bentos.face.thresholds import Thresholds
from platform_api.auth import consents, face_models, objects, templates
from platform_api.auth.access_client import access_service
from platform_api.auth.models import FACE_CONSENT, TRAINING_CONSENT, FaceFrame, FaceTemplate, Member, is_id
from platform_api.auth.photos import crop
from platform_api.auth.settings import settings
from platform_api.auth.withdrawal import delete_frames
from platform_api.core.clock import now
from platform_api.core.events import TransientFailure
from platform_api.core.models import new_id
from platform_api.core.security.audit import record

log = structlog.get_logger(__name__)

MOST_OF_A_MEMBER = 5
AT_ONCE = 200
FRAMES = Counter(
    "smartfit_face_frames_total", "Frames in which a member was known, by what became of them", ["outcome"]
)


@dataclass(frozen=True)
class _Seen:
    """The face in a frame: its crop (JPEG), and float32 [dim] under the model in use."""

    crop: bytes = field(repr=False)
    vector: NDArray[np.float32] = field(repr=False)


def keep(session: Session, said: dict[str, Any]) -> str:
    """Keep the face of the frame that access.StrangerIdentified speaks of; once, however often it is said.

    Returns what became of it: `kept`; `repeated`; `unwanted` (no such member, suspended, without an enrolled face, or
    without consent to faces and to training); `gone` (access has it no more); `unfit` (no picture, or its face is not to be
    used); `no_template` (the member has none under the model in use); `another_person`.

    Raises:
        TransientFailure, ServiceUnavailable: access or the model is away; to be tried again.
    """
    outcome = _keep(session, said)
    FRAMES.labels(outcome).inc()
    log.info("face_frame", outcome=outcome)
    return outcome


def expire(session: Session) -> int:
    """Delete frames past their time, some at once. Returns how many."""
    end = now() - timedelta(days=settings().face_frames_keep_days)
    old = select(FaceFrame).where(FaceFrame.created_at < end).limit(AT_ONCE).with_for_update(skip_locked=True)
    return delete_frames(session, session.scalars(old).all())


def _keep(session: Session, said: dict[str, Any]) -> str:
    member_id, stranger_id = said["member_id"], said["stranger_id"]
    if not is_id(member_id) or not _wanted(session, session.get(Member, member_id)):
        return "unwanted"
    if _known(session, stranger_id):
        return "repeated"
    jpeg = _fetch(stranger_id)
    if jpeg is None:
        return "gone"
    model = _model(session)
    face = _look(jpeg, model)
    if face is None:
        return "unfit"
    frame = FaceFrame(
        id=new_id(),
        member_id=member_id,
        stranger_id=stranger_id,
        object_key=f"{objects.folder(member_id)}/{new_id()}",
        at=datetime.fromisoformat(said["at"]),
    )
    objects.crops.note([frame.object_key])
    # Asked again under the lock: the member may be gone, or may have taken a consent back meanwhile.
    member = session.get(Member, member_id, with_for_update=True, populate_existing=True)
    if not _wanted(session, member):
        return "unwanted"
    if _known(session, stranger_id):
        return "repeated"
    template = _template(session, member_id, model.version)
    if template is None:
        return "no_template"
    score = float(np.max(templates.opened(template) @ face.vector))
    if score < Thresholds.for_model(model).same_person:
        return "another_person"
    objects.crops.write_noted(session, {frame.object_key: face.crop})
    session.add(frame)
    session.flush()
    record(session, "system", "face.frame_kept", member_id, {"stranger_id": stranger_id})
    _keep_the_newest(session, member_id)
    return "kept"


def _wanted(session: Session, member: Member | None) -> bool:
    if member is None or member.status != "active":
        return False
    agreed = consents.state(session, member.id)
    if not (agreed.get(FACE_CONSENT, False) and agreed.get(TRAINING_CONSENT, False)):
        return False
    enrolled = select(FaceTemplate.id).where(FaceTemplate.member_id == member.id, FaceTemplate.status == "enrolled")
    return session.scalars(enrolled.limit(1)).first() is not None


def _known(session: Session, stranger_id: str) -> bool:
    return session.scalar(select(FaceFrame.id).where(FaceFrame.stranger_id == stranger_id)) is not None


def _fetch(stranger_id: str) -> bytes | None:
    """The frame as access has it (JPEG); None where it is gone."""
    path = f"/access/internal/v1/strangers/{stranger_id}/photo"
    answer = access_service().get(path, allow_redirects=False)
    if answer.status_code in (404, 410):
        return None
    if answer.status_code != 200:
        raise TransientFailure(f"access answered {answer.status_code} for a frame")
    return answer.content


def _model(session: Session) -> FaceModel:
    version = face_models.live_version(session)
    try:
        return face_models.load(session, version)
    except face_models.ModelUnavailable as error:
        raise TransientFailure(f"face model {version} is not ready here") from error


def _look(jpeg: bytes, model: FaceModel) -> _Seen | None:
    """The face in the frame, judged as at the gate that took it; None where it is not to be used, or not alone in its crop."""
    try:
        picture = decode_image(jpeg, max_bytes=settings().face_photo_max_bytes)
    except ImageProblem:
        return None
    judged = assess(picture, model.detect(picture), purpose="gate")
    if not judged.ok or judged.face is None:
        return None
    cut = crop(picture, judged.face)
    # Whoever stood beside the member has agreed to nothing.
    if len(model.detect(decode_image(cut))) != 1:
        return None
    return _Seen(cut, model.embed(picture, judged.face))


def _template(session: Session, member_id: str, version: str) -> FaceTemplate | None:
    return session.scalar(
        select(FaceTemplate).where(
            FaceTemplate.member_id == member_id,
            FaceTemplate.status == "enrolled",
            FaceTemplate.model_version == version,
        )
    )


def _keep_the_newest(session: Session, member_id: str) -> None:
    of_member = select(FaceFrame).where(FaceFrame.member_id == member_id)
    older = of_member.order_by(FaceFrame.at.desc(), FaceFrame.id.desc()).offset(MOST_OF_A_MEMBER)
    delete_frames(session, session.scalars(older).all())
