"""What this domain holds of a member (see core.personal). Faces, vectors and the card token are in it: it is the member's alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select

from platform_api.auth import vault
from platform_api.auth.models import (
    CardIdentity,
    Consent,
    FaceCrop,
    FaceFrame,
    FaceReview,
    FaceReviewCandidate,
    FaceTemplate,
    LoginSession,
    Member,
    MemberExport,
)
from platform_api.core.personal import STAFF, Personal, Rows, encoded


def _templates(member_id: str) -> Any:
    return select(FaceTemplate.id).where(FaceTemplate.member_id == member_id)


def _card(row: CardIdentity) -> dict[str, Any]:
    return {"token": vault.envelope().open(row.token_sealed, vault.card_context(row.member_id)).decode()}


def _vectors(row: FaceTemplate) -> dict[str, Any]:
    """float32 [rows, dim], row-major, little-endian, as base64."""
    return {"vectors": encoded(vault.envelope().open(row.vectors_sealed, vault.template_context(row.id)))}


PERSONAL = Personal(
    "auth",
    rows=[
        Rows(Member, lambda member_id: Member.id == member_id, hide=("password_hash", "email_key")),
        Rows(CardIdentity, lambda member_id: CardIdentity.member_id == member_id, more=_card),
        Rows(Consent, lambda member_id: Consent.member_id == member_id),
        Rows(LoginSession, lambda member_id: LoginSession.member_id == member_id),
        Rows(FaceTemplate, lambda member_id: FaceTemplate.member_id == member_id, more=_vectors),
        Rows(
            FaceCrop,
            lambda member_id: FaceCrop.template_id.in_(_templates(member_id)),
            hide=("object_key",),
            picture=lambda row: row.object_key,
        ),
        Rows(
            FaceFrame,
            lambda member_id: FaceFrame.member_id == member_id,
            hide=("object_key",),
            picture=lambda row: row.object_key,
        ),
        Rows(FaceReview, lambda member_id: FaceReview.member_id == member_id, hide=("note", "decided_by")),
        # That a face looked like the member's; whose it was is the other's to know.
        Rows(
            FaceReviewCandidate,
            lambda member_id: or_(
                FaceReviewCandidate.member_id == member_id,
                FaceReviewCandidate.review_id.in_(select(FaceReview.id).where(FaceReview.member_id == member_id)),
            ),
            hide=("member_id", "review_id"),
        ),
        Rows(MemberExport, lambda member_id: MemberExport.member_id == member_id, hide=("object_key", "requested_by")),
    ],
    left_out={
        **dict.fromkeys(("consent.actor", "face_review.decided_by", "member_export.requested_by"), STAFF),
        "refresh_token": "로그인 비밀 값의 해시; 로그인은 login_session에 있습니다"
        " (hashes of secrets of your logins, which are in login_session)",
        "revocation": "끝난 로그인의 해시; 15분이면 지워집니다 (hashes of logins that have ended; gone after minutes)",
        "throttle": "로그인 시도 수; 누구의 것인지는 해시로만 있습니다 (counts of failed logins under hashes)",
        "member_export_part": "만들고 있는 내보내기의 조각 (parts of an export that is being made)",
        "object_deletion": "지워질 파일 목록 (files that are about to be deleted)",
    },
    store=vault.store,
)
