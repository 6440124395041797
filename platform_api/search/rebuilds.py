"""Asking for the whole index to be built anew, and how that stands."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.search import pending
from platform_api.search.models import Rebuild


def ask(session: Session, who: str) -> Rebuild:
    """A rebuild, done by the indexer; the one that is waiting or running where there is one."""
    # Several may ask at once; the table holds one open rebuild at most (unique index).
    session.execute(
        insert(Rebuild)
        .values(rebuild_id=new_id(), asked_by=who, asked_at=now(), state="waiting")
        .on_conflict_do_nothing()
    )
    row = session.scalars(select(Rebuild).where(Rebuild.state.in_(("waiting", "running"))).limit(1)).first()
    if row is None:
        # It ended between the two statements: there is room for ours now.
        return ask(session, who)
    pending.wake(session)
    return row


def ask_as(session: Session, who: Principal) -> Rebuild:
    """As `ask`, by an operator; audited."""
    row = ask(session, who.id)
    audit.record(session, who.id, "index.rebuild", row.rebuild_id)
    return row


def get(session: Session, rebuild_id: str) -> Rebuild:
    """One rebuild. Raises 404."""
    row = session.get(Rebuild, rebuild_id)
    if row is None:
        raise Problem(404)
    return row


def listed(session: Session, cursor: str | None, limit: int) -> tuple[list[Rebuild], str | None]:
    """Rebuilds, the newest first."""
    return page(session, select(Rebuild), (Rebuild.asked_at, Rebuild.rebuild_id), cursor, limit)
