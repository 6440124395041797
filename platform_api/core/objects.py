"""Objects in the object store, which knows no transactions, kept in step with a domain's database, which does.

Before objects are written, their keys are noted in the domain's table `object_deletion`, in a transaction of its own; the
transaction that refers to the objects takes the notes back. To delete, the note is written by the transaction that drops
the reference, and the object goes after its commit. So whenever the process dies, and whether or not the store answers,
each object is either referred to or noted, and `sweep` removes what is noted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.clock import now
from platform_api.core.database import on_commit, on_rollback, unit_of_work
from platform_api.core.storage import ObjectStore

log = structlog.get_logger(__name__)

GRACE = timedelta(hours=1)
"""Longer than any transaction lasts: an unfinished one's objects are not swept from under it."""


class TrackedObjects:
    """The objects of a domain.

    Args:
        domain: whose database has the notes.
        notes: the domain's model of `object_deletion` (object_key, due_at).
        store: gives the object store of the process.
    """

    def __init__(self, domain: str, notes: type[Any], store: Callable[[], ObjectStore]) -> None:
        self._domain, self._notes, self._store = domain, notes, store

    def write(self, session: Session, objects: Mapping[str, bytes], *, sealed: bool = True) -> None:
        """Store `objects` by key; they stay if the transaction of `session` is kept, and go otherwise."""
        if objects:
            self.note(objects)
            self.write_noted(session, objects, sealed=sealed)

    def note(self, keys: Iterable[str]) -> None:
        """The first half of `write`, for callers that take locks before the second: it wants a second connection."""
        with unit_of_work(self._domain) as apart:
            rows = [{"object_key": key, "due_at": now() + GRACE} for key in keys]
            apart.execute(insert(self._notes).values(rows))

    def write_noted(self, session: Session, objects: Mapping[str, bytes], *, sealed: bool = True) -> None:
        """The second half of `write`."""
        keys = list(objects)
        on_rollback(session, lambda: self.discard(keys))
        for key, data in objects.items():
            self._store().put(key, data, sealed=sealed)
        session.execute(delete(self._notes).where(self._notes.object_key.in_(keys)))

    def read(self, key: str, *, sealed: bool = True) -> bytes:
        """An object. Raises FileNotFoundError, DecryptionError."""
        return self._store().get(key, sealed=sealed)

    def remove(self, session: Session, keys: Sequence[str]) -> None:
        """Delete objects once the transaction of `session` is kept."""
        if not keys:
            return
        gone = list(keys)
        note = insert(self._notes).values([{"object_key": key, "due_at": now()} for key in gone])
        session.execute(note.on_conflict_do_nothing())
        on_commit(session, lambda: self.discard(gone))

    def discard(self, keys: Sequence[str]) -> int:
        """Delete objects that are noted, and then the notes. What the store refuses stays noted for `sweep`.

        Returns how many are gone.
        """
        done = []
        for key in keys:
            try:
                self._store().delete(key)
            except Exception as error:
                log.warning("object_not_deleted", domain=self._domain, error=type(error).__name__)
            else:
                done.append(key)
        if done:
            with unit_of_work(self._domain) as session:
                session.execute(delete(self._notes).where(self._notes.object_key.in_(done)))
        return len(done)

    def sweep(self, limit: int = 200) -> int:
        """Delete objects whose time has come. Returns how many are gone."""
        with unit_of_work(self._domain) as session:
            query = select(self._notes.object_key).where(self._notes.due_at <= now())
            keys = list(session.scalars(query.order_by(self._notes.due_at).limit(limit)))
        return self.discard(keys)
