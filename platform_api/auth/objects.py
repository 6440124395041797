"""Crops in the object store, which knows no transactions, kept in step with the database, which does.

Before objects are written, their keys are noted in `object_deletion`, in a transaction of its own; the transaction
that refers to the objects takes the notes back. To delete, the note is written by the transaction that drops the
reference, and the object goes after its commit. So whenever the process dies, and whether or not the store answers,
each object is either referred to or noted, and `sweep` removes what is noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.auth.models import ObjectDeletion
from platform_api.auth.vault import store
from platform_api.core.clock import now
from platform_api.core.database import on_commit, on_rollback, unit_of_work

log = structlog.get_logger(__name__)
GRACE = timedelta(hours=1)
"""Longer than any transaction lasts: an unfinished one's objects are not swept from under it."""


SWEPT_BESIDE = 20


def folder(member_id: str) -> str:
    """Where a member's crops lie."""
    return f"faces/{member_id}"


def write(session: Session, objects: Mapping[str, bytes]) -> None:
    """Seal and store `objects` by key; they stay if the transaction of `session` is kept, and go otherwise."""
    if not objects:
        return
    with unit_of_work("auth") as apart:
        apart.execute(insert(ObjectDeletion).values([{"object_key": k, "due_at": now() + GRACE} for k in objects]))
    keys = list(objects)
    on_rollback(session, lambda: discard(keys))
    for key, data in objects.items():
        store().put(key, data, sealed=True)
    session.execute(delete(ObjectDeletion).where(ObjectDeletion.object_key.in_(keys)))


def remove(session: Session, keys: Sequence[str]) -> None:
    """Delete objects once the transaction of `session` is kept."""
    if not keys:
        return
    note = insert(ObjectDeletion).values([{"object_key": key, "due_at": now()} for key in keys])
    session.execute(note.on_conflict_do_nothing())
    gone = list(keys)
    on_commit(session, lambda: discard(gone))


def remove_folder(session: Session, member_id: str, keys: Sequence[str]) -> None:
    """Delete all there is of a member who is erased; `keys` are those known, should the store not answer now."""
    remove(session, keys)
    on_commit(session, lambda: store().delete_prefix(folder(member_id)))


def discard(keys: Sequence[str]) -> None:
    """Delete objects that are noted, and then the notes. What the store refuses stays noted for `sweep`."""
    done = []
    for key in keys:
        try:
            store().delete(key)
        except Exception as error:
            log.warning("object_not_deleted", error=type(error).__name__)
        else:
            done.append(key)
    if done:
        with unit_of_work("auth") as session:
            session.execute(delete(ObjectDeletion).where(ObjectDeletion.object_key.in_(done)))


def sweep_soon(session: Session) -> None:
    """Sweep a few once the transaction of `session` is kept."""
    on_commit(session, lambda: sweep(SWEPT_BESIDE))


def sweep(limit: int = 200) -> int:
    """Delete objects whose time has come. Returns how many there were.

    Run by `python -m platform_api.auth.sweep`, and a few at a time beside every change of a face.
    """
    with unit_of_work("auth") as session:
        query = select(ObjectDeletion.object_key).where(ObjectDeletion.due_at <= now())
        keys = list(session.scalars(query.order_by(ObjectDeletion.due_at).limit(limit)))
    discard(keys)
    return len(keys)
