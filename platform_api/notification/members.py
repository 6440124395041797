"""This domain's copy of members, and what happens when one is erased.

A member may be named here (a manager of a branch, an app that registers) before MemberRegistered arrives: the row is then
made at version 0, and the event fills it.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import IdempotencyKey
from platform_api.core.security import audit
from platform_api.notification.models import (
    Alert,
    Branch,
    CodeSent,
    Device,
    EmailAddress,
    Flood,
    Member,
    Notification,
    Preference,
    Regular,
)

# A literal, as in the predicate of the index.
_IS_OPERATOR: ColumnElement[bool] = literal_column("member.roles @> ARRAY['operator']", Boolean)


def name(session: Session, member_ids: Collection[str]) -> None:
    """Make rows for members who are named here and not known yet."""
    unheard = {"roles": [], "language": "ko", "status": "active", "version": 0}
    rows = [{"member_id": member_id, **unheard} for member_id in sorted(member_ids)]
    if rows:
        session.execute(insert(Member).on_conflict_do_nothing(), rows)


def lock(session: Session, member_id: str) -> Member:
    """The member's row, made where it is missing, locked until the transaction ends."""
    name(session, [member_id])
    query = select(Member).where(Member.member_id == member_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def must_not_be_erased(session: Session, member_id: str) -> Member:
    """The member, locked, so that nothing slips in beside an erasure.

    Raises:
        Problem: 403 `erased`, for an erased member whose token still lives.
    """
    member = lock(session, member_id)
    if member.erased_at is not None:
        raise Problem(403, "erased", "탈퇴한 계정입니다.", "This account has been erased.")
    return member


def apply(session: Session, member_id: str, version: int, **heard: Any) -> tuple[Member, dict[str, Any]] | None:
    """Take over what auth says of a member at `version`.

    Returns:
        The member, and what stood before of what changed (nothing of a member first heard of); None where the news are
        old, or the member is erased.
    """
    member = lock(session, member_id)
    if member.erased_at is not None or version <= member.version:
        return None
    known = member.version > 0
    before = {field: getattr(member, field) for field, value in heard.items() if getattr(member, field) != value}
    member.version = version
    for field, value in heard.items():
        setattr(member, field, value)
    return member, before if known else {}


def operators(session: Session) -> list[str]:
    """Those who are told of everything."""
    found = select(Member.member_id).where(_IS_OPERATOR, Member.status == "active", Member.erased_at.is_(None))
    return list(session.scalars(found))


def reachable(session: Session, member_ids: Collection[str]) -> list[str]:
    """Those of `member_ids` to whom an alert would get: active, with a device or a proven e-mail address."""
    if not member_ids:
        return []
    has_device = select(Device.device_id).where(Device.member_id == Member.member_id).exists()
    has_address = select(EmailAddress.member_id).where(_proven(), EmailAddress.member_id == Member.member_id).exists()
    found = select(Member.member_id).where(
        Member.member_id.in_(member_ids),
        Member.status == "active",
        Member.erased_at.is_(None),
        has_device | has_address,
    )
    return list(session.scalars(found))


def known(session: Session, member_id: str) -> bool:
    """Whether anything was ever heard of a member."""
    return session.get(Member, member_id) is not None


def erase(session: Session, member_id: str, version: int) -> None:
    """Remove what tells of a member: tokens, address, preferences, history. May be repeated; a tombstone stays."""
    member = lock(session, member_id)
    tables: Sequence[Any] = (Notification, Device, EmailAddress, CodeSent, Preference, Flood, Regular)
    gone = {table.__tablename__: _delete(session, table, member_id) for table in tables}
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == member_id))
    session.execute(
        update(Branch)
        .where(Branch.manager_ids.contains([member_id]))
        .values(manager_ids=func.array_remove(Branch.manager_ids, member_id))
    )
    session.execute(
        update(Alert).where(Alert.told.contains([member_id])).values(told=func.array_remove(Alert.told, member_id))
    )
    session.execute(update(Alert).where(Alert.acknowledged_by == member_id).values(acknowledged_by=None))
    if member.erased_at is None:
        member.erased_at, member.status, member.roles = clock.now(), "erased", []
        member.version = max(version, member.version)
        audit.record(session, "system", "member.erase", member_id, gone)


def _delete(session: Session, table: Any, member_id: str) -> int:
    return int(session.execute(delete(table).where(table.member_id == member_id)).rowcount)  # type: ignore[attr-defined]


def _proven() -> Any:
    return EmailAddress.verified_at.is_not(None) & EmailAddress.bounced_at.is_(None)
