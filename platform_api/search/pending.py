"""The queue of the indexer: branches whose documents are out of date, written with the work that made them so."""

from collections.abc import Collection, Iterable

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.search.models import Pending

CHANNEL = "smartfit_search_index"


def mark(session: Session, branch_ids: Iterable[str]) -> None:
    """The documents of these branches are to be made anew; the indexer is woken when the transaction commits."""
    # In order, so that two transactions with several branches never wait for each other.
    rows = [{"branch_id": branch_id} for branch_id in sorted(set(branch_ids))]
    if not rows:
        return
    statement = insert(Pending).values(rows)
    session.execute(
        statement.on_conflict_do_update(index_elements=["branch_id"], set_={"mark": text("nextval('pending_mark')")})
    )
    wake(session)


def wake(session: Session) -> None:
    """Wake the indexer when the transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def waiting(session: Session, limit: int) -> list[tuple[str, int]]:
    """Branches and their marks, the longest waiting first."""
    query = select(Pending.branch_id, Pending.mark).order_by(Pending.since, Pending.mark).limit(limit)
    return [(branch_id, number) for branch_id, number in session.execute(query)]


def done(session: Session, handled: Collection[tuple[str, int]]) -> None:
    """Take out those that nothing happened to since they were read."""
    if handled:
        session.execute(delete(Pending).where(tuple_(Pending.branch_id, Pending.mark).in_(list(handled))))


def backlog(session: Session) -> int:
    """How many wait."""
    return session.scalar(select(func.count()).select_from(Pending)) or 0
