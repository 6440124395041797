"""What a member was told: list, unread count, marking as read."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.notification.models import Notification


def _of(member_id: str) -> ColumnElement[bool]:
    return (Notification.member_id == member_id) & Notification.hidden.is_(False)


def listed(
    session: Session, member_id: str, *, unread: bool, kind: str | None, cursor: str | None, limit: int
) -> tuple[list[Notification], str | None]:
    """What a member was told, newest first."""
    query = select(Notification).where(_of(member_id))
    if unread:
        query = query.where(Notification.read_at.is_(None))
    if kind is not None:
        query = query.where(Notification.kind == kind)
    return page(session, query, [Notification.notification_id], cursor, limit)


def unread(session: Session, member_id: str) -> int:
    """How many of them are unread."""
    query = select(func.count()).select_from(Notification).where(_of(member_id), Notification.read_at.is_(None))
    return session.scalar(query) or 0


def get(session: Session, member_id: str, notification_id: str) -> Notification:
    """One of them. Raises Problem 404 where it is another's."""
    found = session.scalars(
        select(Notification).where(_of(member_id), Notification.notification_id == notification_id)
    ).one_or_none()
    if found is None:
        raise Problem(404)
    return found


def read(session: Session, member_id: str, notification_id: str) -> Notification:
    """Mark one as read; may be repeated, the first time counts."""
    found = get(session, member_id, notification_id)
    if found.read_at is None:
        found.read_at = clock.now()
    session.flush()
    return found


def read_all(session: Session, member_id: str, until: datetime | None) -> int:
    """Mark all as read that came by `until` (now, where left out). Returns how many were not."""
    statement = update(Notification).where(
        _of(member_id), Notification.read_at.is_(None), Notification.created_at <= (until or clock.now())
    )
    return int(session.execute(statement.values(read_at=clock.now())).rowcount)  # type: ignore[attr-defined]


def forget(session: Session, before: datetime, most: int) -> int:
    """Delete what is older, up to `most`, with its deliveries. Returns how many."""
    old = select(Notification.notification_id).where(Notification.created_at < before).limit(most)
    return int(
        session.execute(delete(Notification).where(Notification.notification_id.in_(old))).rowcount  # type: ignore[attr-defined]
    )
