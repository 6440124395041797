"""A face goes: rows in this transaction, crops after its commit, copies elsewhere by the event."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from platform_api.auth import announcing, objects
from platform_api.auth.models import FaceCrop, FaceFrame, FaceReview, FaceReviewCandidate, FaceTemplate, Member
from platform_api.core.security.audit import record


def withdraw(session: Session, member: Member, actor: str) -> bool:
    """Delete everything that is known of a member's face. Returns whether there was anything."""
    templates = list(session.scalars(select(FaceTemplate).where(FaceTemplate.member_id == member.id)))
    session.execute(delete(FaceReview).where(FaceReview.member_id == member.id))
    # Others held for looking like this member: there is nothing left to look like.
    session.execute(delete(FaceReviewCandidate).where(FaceReviewCandidate.member_id == member.id))
    frames = withdraw_frames(session, member, actor)
    if not templates:
        return frames > 0
    announced = [template.id for template in templates if template.status == "enrolled"]
    delete_templates(session, templates)
    if announced:
        announcing.face_withdrawn(session, member, announced)
    record(session, actor, "face.withdrawn", member.id, {"template_ids": [template.id for template in templates]})
    objects.sweep_soon(session)
    return True


def withdraw_frames(session: Session, member: Member, actor: str) -> int:
    """Delete the faces kept of a member for teaching alone. Returns how many there were."""
    frames = session.scalars(select(FaceFrame).where(FaceFrame.member_id == member.id)).all()
    if frames:
        record(session, actor, "face.frames_withdrawn", member.id, {"frames": len(frames)})
        delete_frames(session, frames)
        objects.sweep_soon(session)
    return len(frames)


def delete_frames(session: Session, frames: Sequence[FaceFrame]) -> int:
    """Delete frames, rows and objects. Returns how many."""
    session.execute(delete(FaceFrame).where(FaceFrame.id.in_([frame.id for frame in frames])))
    objects.crops.remove(session, [frame.object_key for frame in frames])
    return len(frames)


def delete_templates(session: Session, templates: Sequence[FaceTemplate]) -> None:
    """Delete templates with their crops, and the same faces under other models; announces nothing."""
    if not templates:
        return
    ids = [template.id for template in templates]
    objects.crops.remove(session, crop_keys(session, ids))
    beside = session.scalars(select(FaceTemplate).where(FaceTemplate.source_id.in_(ids)))
    for template in {*templates, *beside}:
        session.expunge(template)
    session.execute(delete(FaceTemplate).where(FaceTemplate.id.in_(ids)))


def crop_keys(session: Session, template_ids: Sequence[str]) -> list[str]:
    """Where the crops of templates lie."""
    return list(session.scalars(select(FaceCrop.object_key).where(FaceCrop.template_id.in_(template_ids))))
