"""Photos in the object store, which knows no transactions, kept in step with the database, which does.

Before objects are written, their keys are noted in `object_deletion`, in a transaction of its own; the transaction that
refers to the objects takes the notes back. To delete, the note is written by the transaction that drops the reference, and
the object goes after its commit. So whenever the process dies, each object is either referred to or noted, and `sweep`
removes what is noted.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.clock import now
from platform_api.core.database import on_commit, on_rollback, unit_of_work
from platform_api.core.storage import ObjectStore
from platform_api.helper.models import ObjectDeletion
from platform_api.helper.settings import settings

log = structlog.get_logger(__name__)

GRACE = timedelta(hours=1)
"""Longer than any transaction lasts: an unfinished one's objects are not swept from under it."""


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


def key_of(task_id: str, photo_id: str) -> str:
    """Where a photo lies; the branch and mlops domains, which share the store, find it by the same rule."""
    return f"tasks/{task_id}/{photo_id}"


def write(session: Session, objects: Mapping[str, bytes]) -> None:
    """Seal and store `objects` by key; they stay if the transaction of `session` is kept, and go otherwise."""
    with unit_of_work("helper") as apart:
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
        with unit_of_work("helper") as session:
            session.execute(delete(ObjectDeletion).where(ObjectDeletion.object_key.in_(done)))


def sweep(limit: int = 200) -> int:
    """Delete objects whose time has come. Returns how many were tried."""
    with unit_of_work("helper") as session:
        query = select(ObjectDeletion.object_key).where(ObjectDeletion.due_at <= now())
        keys = list(session.scalars(query.order_by(ObjectDeletion.due_at).limit(limit)))
    discard(keys)
    return len(keys)
