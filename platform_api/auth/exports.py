"""The right to know and to take along: everything that any domain holds of a member, as one ZIP that only the member gets.

A request is written down; the worker collects the parts, one domain after another, and keeps each. A domain that is away is
asked again, with growing pauses; there is no export without its part. The whole is sealed in the object store, can be
downloaded for some days by whoever proves to be the member once more, and goes then.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.auth import members, objects
from platform_api.auth.models import Member, MemberExport, MemberExportPart, is_id
from platform_api.auth.settings import settings
from platform_api.core.clock import now
from platform_api.core.database import DOMAINS
from platform_api.core.errors import Problem
from platform_api.core.models import AuditRecord
from platform_api.core.pagination import page
from platform_api.core.security.audit import record

FOLDER = "exports"
REQUESTED = "export.requested"


def request(session: Session, member_id: str, actor: str) -> MemberExport:
    """Ask for an export; the one that is being made already is the answer where there is one.

    Raises:
        Problem: 404, 429 `too_many_exports`.
    """
    member = members.lock(session, member_id)
    pending = select(MemberExport).where(MemberExport.member_id == member.id, MemberExport.state == "pending")
    if (found := session.scalar(pending)) is not None:
        return found
    day = now() - timedelta(days=1)
    # By the trail: a request that was taken back counts as well.
    recent = select(func.count(), func.min(AuditRecord.at)).where(
        AuditRecord.target == member.id, AuditRecord.action == REQUESTED, AuditRecord.at > day
    )
    count, first = session.execute(recent).one()
    if count >= settings().exports_per_day:
        wait = max(1, round((first - day).total_seconds()))
        raise Problem(
            429,
            "too_many_exports",
            "하루에 요청할 수 있는 내보내기 수를 넘었습니다. 내일 다시 시도하세요.",
            "No more exports today; try again tomorrow.",
            headers={"Retry-After": str(wait)},
        )
    made = MemberExport(member_id=member.id, requested_by=actor, waits_for=sorted(DOMAINS))
    session.add(made)
    record(session, actor, REQUESTED, member.id)
    session.flush()
    return made


def get(session: Session, member_id: str, export_id: str, lock: bool = False) -> MemberExport:
    """One export of a member. Raises 404."""
    mine = select(MemberExport).where(MemberExport.id == export_id, MemberExport.member_id == member_id)
    found = session.scalar(mine.with_for_update() if lock else mine) if is_id(export_id) else None
    if found is None:
        raise Problem(404, "export_not_found", "없는 내보내기입니다.", "There is no such export.")
    return found


def listed(session: Session, member_id: str, cursor: str | None, limit: int) -> tuple[list[MemberExport], str | None]:
    """A member's exports, newest first."""
    query = select(MemberExport).where(MemberExport.member_id == member_id)
    return page(session, query, [MemberExport.id], cursor, limit)


def download(session: Session, member: Member, export_id: str, password: str, address: str | None) -> bytes:
    """The ZIP, for the member alone, who says the password once more. Guesses count as failed logins do.

    Raises:
        Problem: 403 `password_wrong`, 404, 409 `export_not_ready`, 410 `export_gone`, 429 `login_locked`.
    """
    member_id = member.id
    members.confirm(session, member, password, address, "export.refused")
    found = get(session, member_id, export_id, lock=True)
    if found.state != "ready":
        raise Problem(
            409, "export_not_ready", "아직 준비되지 않았습니다. 잠시 후 다시 시도하세요.", "It is not ready; look again later.",
        )  # fmt: skip
    if found.object_key is None or found.expires_at is None or found.expires_at <= now():
        raise _gone()
    try:
        data = objects.crops.read(found.object_key)
    except FileNotFoundError as error:
        raise _gone() from error
    found.downloads += 1
    record(session, member_id, "export.downloaded", member_id, {"export_id": export_id})
    return data


def remove(session: Session, member_id: str, export_id: str, actor: str) -> None:
    """Delete an export before its time. Raises 404."""
    _drop(session, get(session, member_id, export_id, lock=True))
    record(session, actor, "export.deleted", member_id, {"export_id": export_id})


def expire(session: Session, limit: int = 50) -> int:
    """Delete exports past their time, with their rows, and those that were given up long ago. Returns how many."""
    old = (
        select(MemberExport)
        .where(MemberExport.expires_at < now())
        .order_by(MemberExport.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = session.scalars(old).all()
    for each in gone:
        _drop(session, each)
        record(session, "system", "export.expired", each.member_id, {"export_id": each.id})
    return len(gone)


def keys_of(session: Session, member_id: str) -> list[str]:
    """The objects of a member's exports and their parts."""
    mine = select(MemberExport.id).where(MemberExport.member_id == member_id)
    whole = session.scalars(select(MemberExport.object_key).where(MemberExport.member_id == member_id))
    parts = session.scalars(select(MemberExportPart.object_key).where(MemberExportPart.export_id.in_(mine)))
    return [key for key in (*whole, *parts) if key is not None]


def _drop(session: Session, export: MemberExport) -> None:
    parts = select(MemberExportPart.object_key).where(MemberExportPart.export_id == export.id)
    keys = [export.object_key] if export.object_key else []
    objects.crops.remove(session, [*keys, *session.scalars(parts)])
    session.delete(export)


def _gone() -> Problem:
    return Problem(410, "export_gone", "기간이 지나 삭제되었습니다. 다시 요청하세요.", "Its time is over; ask again.")
