"""Asking for the whole index to be built anew, how that stands, and whether one that is held may serve.

The indexer does the work (`looking_after`); here is only said what is wanted, in the one row that may be open.
"""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.search import pending
from platform_api.search.models import OPEN_REBUILD, Rebuild
from platform_api.search.settings import settings


def ask(session: Session, who: str, hold: bool = False) -> Rebuild:
    """A rebuild, done by the indexer; the one that is open where there is one, whoever asked for it.

    Args:
        hold: the new index is not to serve until it is accepted.
    """
    # Several may ask at once; the table holds one open rebuild at most (unique index).
    session.execute(
        insert(Rebuild)
        .values(rebuild_id=new_id(), asked_by=who, asked_at=now(), state="waiting", hold=hold)
        .on_conflict_do_nothing()
    )
    row = unfinished(session)
    if row is None:
        # It ended between the two statements: there is room for ours now.
        return ask(session, who, hold)
    pending.wake(session)
    return row


def ask_as(session: Session, who: Principal, hold: bool = False) -> Rebuild:
    """As `ask`, by an operator or a service; audited."""
    row = ask(session, who.id, hold)
    audit.record(session, who.id, "index.rebuild", row.rebuild_id, {"hold": hold})
    return row


def unfinished(session: Session, lock: bool = False) -> Rebuild | None:
    """The rebuild that is open, if any."""
    query = select(Rebuild).where(Rebuild.state.in_(OPEN_REBUILD)).limit(1)
    return session.scalars(query.with_for_update() if lock else query).first()


def get(session: Session, rebuild_id: str, lock: bool = False) -> Rebuild:
    """One rebuild. Raises 404."""
    row = session.get(Rebuild, rebuild_id, with_for_update=lock)
    if row is None:
        raise Problem(404)
    return row


def listed(session: Session, cursor: str | None, limit: int) -> tuple[list[Rebuild], str | None]:
    """Rebuilds, the newest first."""
    return page(session, select(Rebuild), (Rebuild.asked_at, Rebuild.rebuild_id), cursor, limit)


def held(session: Session, rebuild_id: str, lock: bool = False) -> Rebuild:
    """A rebuild whose index is held.

    Raises:
        Problem: 404; 409 `not_held`.
    """
    row = get(session, rebuild_id, lock)
    if row.state != "built":
        raise Problem(
            409,
            "not_held",
            "대기 중인 새 색인이 없습니다. 재색인 상태를 확인하세요.",
            "The new index of this rebuild is not held; look at its state.",
            state=row.state,
        )
    return row


def accept(session: Session, who: Principal, rebuild_id: str) -> Rebuild:
    """Let the index that is held serve; the indexer does it at once. Raises as `held`; may be repeated."""
    return _decide(session, who, rebuild_id, "accepting", "done", None)


def reject(session: Session, who: Principal, rebuild_id: str, reason: str) -> Rebuild:
    """Have the index that is held removed; the old one goes on serving. Raises as `held`; may be repeated."""
    return _decide(session, who, rebuild_id, "rejecting", "rejected", reason)


def _decide(session: Session, who: Principal, rebuild_id: str, state: str, end: str, reason: str | None) -> Rebuild:
    row = get(session, rebuild_id, lock=True)
    if row.state in (state, end):
        return row
    row = held(session, rebuild_id)
    row.state, row.error = state, reason
    audit.record(session, who.id, f"index.{state}", rebuild_id, {"reason": reason} if reason else None)
    pending.wake(session)
    return row


def keep(row: Rebuild, index_name: str, documents: int) -> None:
    """The new index is built and held, for as long as the settings say."""
    row.state, row.index_name, row.documents = "built", index_name, documents
    row.held_until = now() + timedelta(seconds=settings().search_hold_s)


def finish(row: Rebuild, state: str, error: str | None = None, documents: int | None = None) -> None:
    """It is over: done, rejected or failed."""
    row.state, row.finished_at, row.held_until = state, now(), None
    row.error = error or row.error
    row.documents = documents if documents is not None else row.documents
