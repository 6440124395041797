"""Frames of people a gate refused: sealed in the object store, for a stated time, for the branch's manager to look at.

A frame is written before its row, so a crash in between leaves a file nobody refers to; `purge` removes those as well.
Each look at a photo is audited. Where the manager knows a member in one, the others are told (StrangerIdentified), and a
service may fetch that frame: it is what the face model has yet to learn.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos.face.images import ImageProblem, decode_image
from platform_api.access.authority import managed, not_found
from platform_api.access.device_auth import Device
from platform_api.access.models import Gate, Member, Stranger
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.database import on_commit, on_rollback
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.core.storage import ObjectStore

PREFIX = "strangers"
_ORPHAN_AGE = timedelta(hours=1)


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


def keep(
    session: Session, device: Device, entry_id: str, gate_id: str, at: datetime, jpeg: bytes
) -> tuple[Stranger, bool]:
    """Keep a frame of a node's gate. Returns it and whether it is new; the same entry's frame is kept once.

    Raises:
        Problem: 404 not the node's gate; 413; 415 not a JPEG; 422 the image cannot be read.
    """
    gate = session.get(Gate, gate_id)
    if gate is None or device.edge_id not in (gate.edge_id, *gate.former_edge_ids):
        raise not_found("이 장치의 게이트가 아닙니다.", "Not a gate of this node.")
    _refuse_unreadable(jpeg)
    known = session.scalar(select(Stranger).where(Stranger.entry_id == entry_id))
    if known is not None:
        return known, False
    expires = min(at, clock.now()) + timedelta(hours=settings().strangers_keep_hours)
    stranger_id = new_id()
    key = f"{PREFIX}/{gate.branch_id}/{stranger_id}.jpg"
    stranger = Stranger(
        stranger_id=stranger_id, entry_id=entry_id, branch_id=gate.branch_id, gate_id=gate_id, at=at, object_key=key,
        expires_at=expires,
    )  # fmt: skip
    if expires <= clock.now():
        # It lay on a node cut off for so long that its time is over: thanked for, and not kept.
        return stranger, False
    on_rollback(session, lambda: store().delete(key))
    store().put(key, jpeg, sealed=True)
    session.add(stranger)
    session.flush()
    return stranger, True


def _refuse_unreadable(jpeg: bytes) -> None:
    if len(jpeg) > settings().strangers_max_bytes:
        raise Problem(413)
    if not jpeg.startswith(b"\xff\xd8\xff"):
        raise Problem(415, "not_a_jpeg", "JPEG 이미지를 보내세요.", "Send a JPEG image.")
    try:
        decode_image(jpeg)
    except ImageProblem as error:
        raise Problem(422, error.code, "이미지를 읽을 수 없습니다.", "The image cannot be read.") from error


def listed(
    session: Session, who: Principal, *, branch_id: str | None, undecided: bool, cursor: str | None, limit: int
) -> tuple[list[Stranger], str | None]:
    """Frames of the caller's branches that are still kept, newest first."""
    query = select(Stranger).where(Stranger.expires_at > clock.now())
    branches = managed(who)
    if branches is not None:
        query = query.where(Stranger.branch_id.in_(branches))
    if branch_id is not None:
        query = query.where(Stranger.branch_id == branch_id)
    if undecided:
        query = query.where(Stranger.decision.is_(None))
    return page(session, query, [Stranger.stranger_id], cursor, limit)


def photo(session: Session, who: Principal, stranger_id: str) -> bytes:
    """The frame itself; that the caller looked is audited.

    Raises:
        Problem: 404 not there for the caller; 410 `photo_gone`.
    """
    return _shown(session, who, _mine(session, who, stranger_id), "stranger.view_photo")


def photo_for_service(session: Session, who: Principal, stranger_id: str) -> bytes:
    """The frame of a stranger in whom a member was known, for another part of the platform; audited.

    Raises:
        Problem: 404 not there, or not decided to be a member; 410 `photo_gone`.
    """
    stranger = session.get(Stranger, stranger_id)
    if stranger is None or stranger.decision != "member" or stranger.expires_at <= clock.now():
        raise not_found()
    return _shown(session, who, stranger, "stranger.fetch_photo")


def _shown(session: Session, who: Principal, stranger: Stranger, action: str) -> bytes:
    try:
        if stranger.object_key is None:
            raise FileNotFoundError
        jpeg = store().get(stranger.object_key, sealed=True)
    except FileNotFoundError as error:
        raise Problem(410, "photo_gone", "사진이 삭제되었습니다.", "The photo has been deleted.") from error
    audit.record(session, who.id, action, stranger.stranger_id, {"branch_id": stranger.branch_id})
    return jpeg


def decide(
    session: Session, who: Principal, stranger_id: str, decision: str, member_id: str | None, note: str | None
) -> Stranger:
    """Say who it was: a member (linked, so that erasure finds it, and told to the others), a stranger, or nothing of
    interest (photo deleted).

    Raises:
        Problem: 404; 409 `decided_already`; 422 `member_required`, `member_erased`.
    """
    stranger = _mine(session, who, stranger_id)
    if stranger.decision is not None:
        raise Problem(409, "decided_already", "이미 처리되었습니다.", "This has been decided already.")
    if (decision == "member") != (member_id is not None):
        raise Problem(
            422, "member_required", "회원으로 판단할 때만 member_id를 보내세요.", "Give member_id with the decision 'member', and only then.",
        )  # fmt: skip
    if member_id is not None:
        _refuse_erased(session, member_id)
    stranger.decision, stranger.member_id, stranger.note = decision, member_id, note
    stranger.decided_by, stranger.decided_at = who.id, clock.now()
    if decision == "dismissed":
        destroy(session, stranger)
    elif member_id is not None:
        _announce(session, stranger)
    audit.record(
        session, who.id, "stranger.decide", stranger_id, {"decision": decision, "branch_id": stranger.branch_id}
    )
    return stranger


def _refuse_erased(session: Session, member_id: str) -> None:
    # Under the lock that erasure takes: it finds this link, or is found here.
    member = session.get(Member, member_id, with_for_update=True)
    if member is not None and member.erased_at is not None:
        raise Problem(422, "member_erased", "탈퇴한 회원입니다.", "This member has left; nothing may be kept of them.")


def _announce(session: Session, stranger: Stranger) -> None:
    assert stranger.decided_at is not None
    data = {
        "stranger_id": stranger.stranger_id,
        "member_id": stranger.member_id,
        "branch_id": stranger.branch_id,
        "at": stranger.at.isoformat(),
        "decided_at": stranger.decided_at.isoformat(),
    }
    publish(session, "access.StrangerIdentified", subject=stranger.stranger_id, version=1, data=data)


def destroy(session: Session, stranger: Stranger) -> None:
    """Delete the frame once this transaction is kept."""
    if (key := stranger.object_key) is not None:
        stranger.object_key = None
        on_commit(session, lambda: store().delete(key))


def purge(session: Session) -> int:
    """Delete frames past their time, row and object, and objects that no row names. Returns how many rows.

    Objects go first: what fails here is found again the next time.
    """
    overdue = list(session.scalars(select(Stranger).where(Stranger.expires_at <= clock.now())))
    for stranger in overdue:
        if stranger.object_key is not None:
            store().delete(stranger.object_key)
        session.delete(stranger)
    session.flush()
    named = set(session.scalars(select(Stranger.object_key).where(Stranger.object_key.is_not(None))))
    for key in store().list(PREFIX):
        if key not in named and _made(key) < clock.now() - _ORPHAN_AGE:
            store().delete(key)
    return len(overdue)


def _made(key: str) -> datetime:
    """When an object was written: its name is a UUIDv7, whose first 48 bits are milliseconds (RFC 9562)."""
    with contextlib.suppress(ValueError):
        return datetime.fromtimestamp((UUID(key.rpartition("/")[2].removesuffix(".jpg")).int >> 80) / 1000, UTC)
    return datetime.min.replace(tzinfo=UTC)


def _mine(session: Session, who: Principal, stranger_id: str) -> Stranger:
    stranger = session.get(Stranger, stranger_id, with_for_update=True)
    if stranger is None or not who.manages(stranger.branch_id) or stranger.expires_at <= clock.now():
        raise not_found()
    return stranger
