"""Enrolments held because the face looks like another member's: an operator looks at both and decides."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from platform_api.auth import faces, vault
from platform_api.auth.members import lock
from platform_api.auth.models import FaceCrop, FaceReview, FaceTemplate, is_id
from platform_api.auth.withdrawal import delete_templates
from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security.audit import record


def find(session: Session, status: str | None, cursor: str | None, limit: int) -> tuple[list[FaceReview], str | None]:
    """Reviews, newest first."""
    query = select(FaceReview).options(selectinload(FaceReview.candidates))
    if status:
        query = query.where(FaceReview.status == status)
    return page(session, query, [FaceReview.id], cursor, limit)


def get(session: Session, review_id: str) -> FaceReview:
    """The review.

    Raises:
        Problem: 404.
    """
    query = select(FaceReview).options(selectinload(FaceReview.candidates)).where(FaceReview.id == review_id)
    review = session.scalar(query) if is_id(review_id) else None
    if review is None:
        raise Problem(404)
    return review


def pictures(session: Session, review: FaceReview, actor: str) -> dict[str, Any]:
    """The crops to compare, as base64 JPEG: those held, and those of each candidate. Looking is audited."""
    held = _crops(session, FaceTemplate.id == review.template_id)
    others = {
        candidate.member_id: _crops(
            session, (FaceTemplate.member_id == candidate.member_id) & (FaceTemplate.status == "enrolled")
        )
        for candidate in review.candidates
    }
    record(session, actor, "face_review.viewed", review.member_id, {"review_id": review.id})
    return {
        "review_id": review.id,
        "held": held,
        "candidates": [{"member_id": member_id, "photos": crops} for member_id, crops in others.items()],
    }


def decide(session: Session, review_id: str, approve: bool, note: str | None, actor: str) -> FaceReview:
    """Approve (the face is enrolled, and announced) or reject (template and crops are deleted).

    Raises:
        Problem: 404, 403 `review_own`, 409 `review_decided`.
    """
    review = get(session, review_id)
    if review.member_id == actor:
        raise Problem(
            403,
            "review_own",
            "본인의 등록은 다른 운영자가 결정해야 합니다.",
            "Another operator must decide on your own enrolment.",
        )
    member = lock(session, review.member_id)
    # Read again under the lock: two operators may press at once.
    session.refresh(review, with_for_update=True)
    template = session.get(FaceTemplate, review.template_id) if review.template_id else None
    if review.status != "pending" or template is None:
        raise Problem(409, "review_decided", "이미 결정된 건입니다.", "This has been decided already.")
    review.status = "approved" if approve else "rejected"
    review.decided_at, review.decided_by, review.note = now(), actor, note
    if approve:
        faces.promote(session, member, template, actor)
    else:
        review.template_id = None
        session.flush()
        delete_templates(session, [template])
    record(session, actor, f"face_review.{review.status}", member.id, {"review_id": review.id})
    return review


def _crops(session: Session, condition: Any) -> list[str]:
    query = select(FaceCrop.object_key).join(FaceTemplate, FaceTemplate.id == FaceCrop.template_id).where(condition)
    keys = session.scalars(query.order_by(FaceCrop.position))
    return [base64.b64encode(vault.store().get(key, sealed=True)).decode() for key in keys]
