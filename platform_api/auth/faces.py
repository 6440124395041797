"""Enrolment of a face: one to five photos become a sealed template and sealed crops, or nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ml_bentos.face.gallery import Candidate
from ml_bentos.face.thresholds import Thresholds
from platform_api.auth import announcing, consents, duplicates, face_models, objects, templates
from platform_api.auth.members import lock
from platform_api.auth.models import (
    FACE_CONSENT,
    FaceCrop,
    FaceReview,
    FaceReviewCandidate,
    FaceTemplate,
    Member,
)
from platform_api.auth.photos import Examined, Verdict, check, examine
from platform_api.auth.settings import settings
from platform_api.auth.withdrawal import delete_templates, withdraw
from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security.audit import record

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Enrolment:
    """What became of the photos: status `enrolled`, or `held_for_review`."""

    status: str
    template_id: str
    model_version: str
    verdicts: list[Verdict] = field(repr=False)


@dataclass(frozen=True)
class FaceState:
    """What is held of a member's face. status: none, enrolled or held_for_review."""

    status: str
    consent: bool
    held: bool = False
    template_id: str | None = None
    model_version: str | None = None
    enrolled_at: datetime | None = None
    photos: int = 0


def enrol(session: Session, member_id: str, photos: Sequence[bytes], actor: str) -> Enrolment:
    """Enrol a member's face, under each model in use; a newer enrolment takes the place of the older.

    A face that is enrolled under another member is held until an operator has looked at it; what was enrolled before
    goes on meanwhile.

    Raises:
        Problem: 422 `photos_count`, 413 `photo_too_large`, 403 `consent_needed`, 422 `photos_refused` (with the reasons
            by photo), 503 `gallery_unavailable`, `model_unavailable`, 404.
    """
    _check_upload(photos, most=settings().face_max_photos)
    _check_consent(session, member_id)
    model = face_models.live(session)
    thresholds = Thresholds.for_model(model)
    examined = examine(photos, model, thresholds)
    if examined.template is None:
        raise Problem(
            422,
            "photos_refused",
            "쓸 수 있는 사진이 없습니다. 사진마다 적힌 이유를 보고 다시 찍으세요.",
            "None of the photos can be used; see the reasons beside each and take new ones.",
            photos=[verdict.to_dict() for verdict in examined.verdicts],
        )
    template, crops = _prepare(session, member_id, examined)
    beside = [
        templates.sealed(member_id, other.version, examined.under(other), "held", template.id)
        for other in face_models.others(session)
        if other.version != model.version
    ]
    member = lock(session, member_id)
    # Asked again under the lock: consent may have been taken back meanwhile.
    _check_consent(session, member_id)
    same = duplicates.find(session, member_id, examined.template, model.version, thresholds.duplicate)
    _keep(session, template, crops, beside)
    if same:
        _hold(session, member, template, same, actor)
    else:
        promote(session, member, template, actor)
    objects.sweep_soon(session)
    status = "held_for_review" if same else "enrolled"
    return Enrolment(status, template.id, model.version, examined.verdicts)


def check_photo(session: Session, member_id: str, photos: Sequence[bytes]) -> Verdict:
    """Whether one photo would serve for an enrolment, and why not; nothing is kept.

    Raises:
        Problem: 422 `photos_count`, 413 `photo_too_large`, 403 `consent_needed`, 503 `model_unavailable`.
    """
    _check_upload(photos, most=1)
    _check_consent(session, member_id)
    return check(photos[0], face_models.live(session))


def promote(session: Session, member: Member, template: FaceTemplate, actor: str) -> None:
    """Make a held template the member's enrolled one, in place of the one before. The member's row is locked."""
    before = list(
        session.scalars(
            select(FaceTemplate).where(
                FaceTemplate.member_id == member.id,
                FaceTemplate.status == "enrolled",
                FaceTemplate.id != template.id,
            )
        )
    )
    if before:
        ids = [old.id for old in before]
        delete_templates(session, before)
        announcing.face_withdrawn(session, member, ids)
        record(session, actor, "face.replaced", member.id, {"template_ids": ids})
    for each in [template, *templates.beside(session, template.id)]:
        each.status, each.enrolled_at = "enrolled", now()
        session.flush()
        announcing.face_enrolled(session, member, each)
        details = {"template_id": each.id, "model_version": each.model_version}
        record(session, actor, "face.enrolled", member.id, details)


def state(session: Session, member_id: str) -> FaceState:
    """What is held of the member's face."""
    consent = consents.state(session, member_id).get(FACE_CONSENT, False)
    templates = {
        template.status: template
        for template in session.scalars(
            select(FaceTemplate).where(FaceTemplate.member_id == member_id, FaceTemplate.source_id.is_(None))
        )
    }
    held = "held" in templates
    enrolled = templates.get("enrolled")
    if enrolled is None:
        return FaceState("held_for_review" if held else "none", consent, held)
    count = session.scalar(select(func.count()).where(FaceCrop.template_id == enrolled.id)) or 0
    return FaceState("enrolled", consent, held, enrolled.id, enrolled.model_version, enrolled.enrolled_at, count)


def remove(session: Session, member_id: str, actor: str) -> None:
    """Withdraw the member's face.

    Raises:
        Problem: 404 `face_not_enrolled`.
    """
    if not withdraw(session, lock(session, member_id), actor):
        raise Problem(404, "face_not_enrolled", "등록된 얼굴이 없습니다.", "No face is enrolled.")


def _check_upload(photos: Sequence[bytes], most: int) -> None:
    chosen = settings()
    if not 1 <= len(photos) <= most:
        number, number_en = ("1", "one photo") if most == 1 else (f"1~{most}", f"1 to {most} photos")
        raise Problem(
            422,
            "photos_count",
            f"사진을 {number}장 보내세요 (양식의 photos 항목).",
            f"Send {number_en}, as form parts named photos.",
        )
    too_large = [index for index, data in enumerate(photos) if len(data) > chosen.face_photo_max_bytes]
    if too_large:
        mebibytes = chosen.face_photo_max_bytes // 2**20
        raise Problem(
            413,
            "photo_too_large",
            f"사진 한 장은 {mebibytes} MiB까지입니다.",
            f"A photo may have at most {mebibytes} MiB.",
            photos=too_large,
        )


def _check_consent(session: Session, member_id: str) -> None:
    if not consents.state(session, member_id).get(FACE_CONSENT, False):
        raise Problem(
            403,
            "consent_needed",
            "얼굴 등록에는 먼저 동의가 필요합니다.",
            "Consent to the use of your face is needed first.",
        )


def _prepare(session: Session, member_id: str, examined: Examined) -> tuple[FaceTemplate, list[FaceCrop]]:
    """Seal and store the crops, and seal the template; the rows are added later, under the member's lock."""
    assert examined.template is not None
    template = templates.sealed(member_id, examined.model_version, examined.template, "held")
    keys = {index: f"{objects.folder(member_id)}/{new_id()}" for index, _ in examined.crops}
    objects.crops.write(session, {keys[index]: jpeg for index, jpeg in examined.crops})
    crops = [
        FaceCrop(
            object_key=keys[index],
            template_id=template.id,
            position=position,
            quality=examined.verdicts[index].quality,
        )
        for position, (index, _) in enumerate(examined.crops)
    ]
    return template, crops


def _keep(session: Session, template: FaceTemplate, crops: list[FaceCrop], beside: list[FaceTemplate]) -> None:
    """Add the templates, held for now; an enrolment still waiting for review is superseded by it."""
    waiting = list(
        session.scalars(
            select(FaceTemplate).where(FaceTemplate.member_id == template.member_id, FaceTemplate.status == "held")
        )
    )
    if waiting:
        reviews = select(FaceReview).where(FaceReview.template_id.in_([old.id for old in waiting]))
        for review in session.scalars(reviews):
            session.delete(review)
        session.flush()
        delete_templates(session, waiting)
    session.add(template)
    session.flush()
    session.add_all([*crops, *beside])
    session.flush()


def _hold(session: Session, member: Member, template: FaceTemplate, same: list[Candidate], actor: str) -> None:
    review = FaceReview(id=new_id(), member_id=member.id, template_id=template.id)
    session.add(review)
    session.flush()
    session.add_all(FaceReviewCandidate(review_id=review.id, member_id=c.member_id, score=c.score) for c in same)
    details = {"review_id": review.id, "candidates": [candidate.member_id for candidate in same]}
    record(session, actor, "face.held", member.id, details)
    log.info("face_held", review_id=review.id, candidates=len(same))
