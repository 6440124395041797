"""The right to be forgotten: all that is held of a member goes, here at once, elsewhere by MemberErased.

What stays is the audit trail, which knows the member's opaque id and no more, and MemberErased itself.
"""

from __future__ import annotations

from sqlalchemy import String, cast, delete, func, or_, select
from sqlalchemy.orm import Session

from platform_api.auth import announcing, exports, objects, revocations
from platform_api.auth.members import keep_an_operator, lock
from platform_api.auth.models import FaceFrame, FaceTemplate, Member
from platform_api.auth.throttle import forget_account
from platform_api.auth.withdrawal import crop_keys
from platform_api.core.models import IdempotencyKey, InboxEvent, OutboxEvent
from platform_api.core.security.audit import record


def erase(session: Session, member_id: str, actor: str) -> None:
    """Erase a member for good.

    Raises:
        Problem: 404, 409 `last_operator`.
    """
    member = lock(session, member_id)
    keep_an_operator(session, member)
    templates = list(session.scalars(select(FaceTemplate.id).where(FaceTemplate.member_id == member.id)))
    frames = session.scalars(select(FaceFrame.object_key).where(FaceFrame.member_id == member.id))
    objects.remove_folder(
        session, member.id, [*crop_keys(session, templates), *frames, *exports.keys_of(session, member.id)]
    )
    _forget_messages(session, member.id)
    forget_account(session, member.email_key)
    announcing.member_erased(session, member)
    revocations.revoke_member(session, member.id)
    record(session, actor, "member.erased", member.id)
    session.flush()
    # Everything else refers to this row with ON DELETE CASCADE.
    session.execute(delete(Member).where(Member.id == member.id))
    session.expunge(member)


def _forget_messages(session: Session, member_id: str) -> None:
    """Kept answers to the member's requests, and events of and about the member, which MemberErased makes void."""
    mentioned = func.position(func.convert_to(cast(member_id, String), "UTF8").op("IN")(IdempotencyKey.body)) > 0
    session.execute(delete(IdempotencyKey).where(or_(IdempotencyKey.principal == member_id, mentioned)))
    session.execute(delete(OutboxEvent).where(OutboxEvent.envelope["subject"].astext == member_id))
    # One that is being handled now finds no member; waiting for it here would be waiting for each other.
    heard = select(InboxEvent.event_id).where(InboxEvent.envelope["data"]["member_id"].astext == member_id)
    session.execute(delete(InboxEvent).where(InboxEvent.event_id.in_(heard.with_for_update(skip_locked=True))))
