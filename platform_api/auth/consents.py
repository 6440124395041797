"""What a member agreed to: a history that only grows; the newest word on a kind counts.

Taking the consent to faces back withdraws the face in the same transaction; taking the one to training back, the frames
that are kept for it.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from platform_api.auth.members import lock
from platform_api.auth.models import FACE_CONSENT, TRAINING_CONSENT, Consent
from platform_api.auth.withdrawal import withdraw, withdraw_frames
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security.audit import record


def state(session: Session, member_id: str) -> dict[str, bool]:
    """The newest word on each kind the member has spoken on."""
    newest = select(Consent.kind, Consent.granted).where(Consent.member_id == member_id)
    newest = newest.ext(distinct_on(Consent.kind)).order_by(Consent.kind, Consent.id.desc())
    return {row.kind: row.granted for row in session.execute(newest)}


def history(session: Session, member_id: str, cursor: str | None, limit: int) -> tuple[list[Consent], str | None]:
    """All that was said, newest first."""
    return page(session, select(Consent).where(Consent.member_id == member_id), [Consent.id], cursor, limit)


def record_consent(
    session: Session, member_id: str, kind: str, granted: bool, text_version: str, actor: str
) -> Consent:
    """Add a statement. Nobody agrees for somebody else; an operator may only note a refusal on a member's behalf.

    Raises:
        Problem: 403 `consent_not_yours`.
    """
    if granted and actor != member_id:
        raise Problem(
            403,
            "consent_not_yours",
            "동의는 본인만 할 수 있습니다.",
            "Only the member in person can give consent.",
        )
    member = lock(session, member_id)
    consent = Consent(
        id=new_id(), member_id=member.id, kind=kind, granted=granted, text_version=text_version, actor=actor
    )
    session.add(consent)
    session.flush()
    record(session, actor, "consent.given" if granted else "consent.withdrawn", member.id, {"kind": kind})
    if kind == FACE_CONSENT and not granted:
        withdraw(session, member, actor)
    elif kind == TRAINING_CONSENT and not granted:
        withdraw_frames(session, member, actor)
    return consent
