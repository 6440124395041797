"""The right to know: everything that is held of a member, as one JSON document.

Pictures, vectors and the card token are for the member alone; an operator who exports gets the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Session

from platform_api.auth import vault
from platform_api.auth.models import (
    CardIdentity,
    Consent,
    FaceReview,
    FaceTemplate,
    LoginSession,
    Member,
)
from platform_api.core.clock import now
from platform_api.core.models import AuditRecord
from platform_api.core.security.audit import record

FORMAT = 1
MOST_AUDIT_ROWS = 10_000


def export(session: Session, member: Member, actor: str) -> dict[str, Any]:
    """Everything held of `member`; audited."""
    own = actor == member.id
    record(session, actor, "member.exported", member.id)
    card = session.get(CardIdentity, member.id)
    return {
        "format": FORMAT,
        "exported_at": now().isoformat(),
        "member": _row(member, hide=("password_hash", "email_key")),
        "card_identity": _card(card, own) if card else None,
        "consents": [_row(c) for c in _all(session, Consent, member.id)],
        "sessions": [_row(s) for s in _all(session, LoginSession, member.id)] if own else [],
        "faces": [_face(t, own) for t in _all(session, FaceTemplate, member.id)],
        "face_reviews": [_row(r, hide=("note",)) for r in _all(session, FaceReview, member.id)],
        "audit": _audit(session, member.id),
    }


def _all(session: Session, kind: Any, member_id: str) -> Sequence[Any]:
    return session.scalars(select(kind).where(kind.member_id == member_id).order_by(kind.id)).all()


def _row(row: DeclarativeBase, hide: Sequence[str] = ()) -> dict[str, Any]:
    values = {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs if column.key not in hide}
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in values.items()}


def _card(card: CardIdentity, own: bool) -> dict[str, Any]:
    token = vault.envelope().open(card.token_sealed, vault.card_context(card.member_id)).decode() if own else None
    return {"verified_at": card.verified_at.isoformat(), "token": token}


def _face(template: FaceTemplate, own: bool) -> dict[str, Any]:
    plain = vault.envelope().open(template.vectors_sealed, vault.template_context(template.id)) if own else None
    return {
        **_row(template, hide=("vectors_sealed",)),
        "vectors": base64.b64encode(plain).decode() if plain else None,
        "photos": [
            {
                "quality": crop.quality,
                "jpeg": base64.b64encode(vault.store().get(crop.object_key, sealed=True)).decode() if own else None,
            }
            for crop in template.crops
        ],
    }


def _audit(session: Session, member_id: str) -> list[dict[str, Any]]:
    query = select(AuditRecord).where(AuditRecord.target == member_id).order_by(AuditRecord.position)
    rows = session.scalars(query.limit(MOST_AUDIT_ROWS))
    return [{"at": row.at.isoformat(), "actor": row.actor, "action": row.action} for row in rows]
