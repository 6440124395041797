"""The access log: taken in from edges, each entry once, and searched.

An edge stores entries and forwards them, so they come late, again, and in batches that were partly taken before. What is
wrong with one entry is told for that entry; the others are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from platform_api.access import feed, members
from platform_api.access.authority import managed
from platform_api.access.device_auth import Device
from platform_api.access.events import announce
from platform_api.access.models import Entry, Gate
from platform_api.core import clock
from platform_api.core.database import on_commit
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal

ENTRIES = Counter("smartfit_entries_total", "Entries taken in from the gates", ["method", "outcome"])

AHEAD = timedelta(minutes=5)
"""How far in the future an entry may lie before it is refused (the edge's clock is kept by server_time)."""


@dataclass
class Intake:
    """What became of a batch. `errors`: {index, entry_id, code, detail, detail_en} for each entry refused."""

    accepted: int = 0
    duplicates: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


def ingest(session: Session, device: Device, documents: Sequence[tuple[int, dict[str, Any]]]) -> Intake:
    """Keep entries that are new, and publish AccessGranted or AccessDenied for each in the same transaction.

    Args:
        documents: (index in the batch, checked entry).
    """
    intake = Intake()
    gates = _gates_of(session, device, {document["gate_id"] for _, document in documents})
    latest = clock.now() + AHEAD
    fresh: dict[str, dict[str, Any]] = {}
    for index, document in documents:
        if document["gate_id"] not in gates:
            intake.errors.append(
                refusal(index, document, "gate_not_yours", "이 장치의 게이트가 아닙니다.", "Not a gate of this node.")
            )
        elif document["at"] > latest:
            intake.errors.append(
                refusal(index, document, "at_in_future", "시각이 미래입니다.", "The time lies in the future.")
            )
        elif document["entry_id"] in fresh:
            intake.duplicates += 1
        else:
            branch_id = gates[document["gate_id"]]
            fresh[document["entry_id"]] = {**document, "branch_id": branch_id, "edge_id": device.edge_id}
    for entry in _insert(session, fresh):
        intake.accepted += 1
        announce(session, entry)
        on_commit(session, ENTRIES.labels(entry.method, entry.outcome).inc)
    intake.duplicates += len(fresh) - intake.accepted
    branches = {row["branch_id"] for row in fresh.values()}
    for branch_id in sorted(branches):
        feed.touch(session, "occupancy", [branch_id], [branch_id])
    return intake


def refusal(index: int, document: Any, code: str, ko: str, en: str) -> dict[str, Any]:
    """What is told of an entry that is not taken."""
    entry_id = document.get("entry_id") if isinstance(document, dict) else None
    return {
        "index": index,
        "entry_id": str(entry_id) if entry_id else None,
        "code": code,
        "detail": ko,
        "detail_en": en,
    }


def _gates_of(session: Session, device: Device, gate_ids: set[str]) -> dict[str, str]:
    """The branch of each of these gates that is, or was, the node's."""
    mine = or_(Gate.edge_id == device.edge_id, Gate.former_edge_ids.contains([device.edge_id]))
    rows = session.execute(select(Gate.gate_id, Gate.branch_id).where(Gate.gate_id.in_(gate_ids), mine))
    return {gate_id: branch_id for gate_id, branch_id in rows}  # noqa: C416 - rows are no pairs to the type checker


def _insert(session: Session, fresh: dict[str, dict[str, Any]]) -> list[Entry]:
    if not fresh:
        return []
    erased = members.erased_among(session, {row["member_id"] for row in fresh.values() if row["member_id"]})
    received = clock.now()
    rows = [
        {**row, "received_at": received, "member_id": None if row["member_id"] in erased else row["member_id"]}
        for _, row in sorted(fresh.items())
    ]
    statement = insert(Entry).values(rows).on_conflict_do_nothing(index_elements=["entry_id"]).returning(Entry)
    return sorted(session.scalars(statement), key=lambda entry: (entry.at, entry.entry_id))


def search(
    session: Session,
    who: Principal,
    *,
    member_id: str | None = None,
    branch_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    outcome: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Entry], str | None]:
    """Entries that the caller may see, newest first: their own; a manager those of their branches; an operator all.

    Raises:
        Problem: 400 `bad_cursor`.
    """
    query = select(Entry)
    branches = managed(who)
    if branches is not None:
        query = query.where(or_(Entry.member_id == who.id, Entry.branch_id.in_(branches)))
    for column, value in ((Entry.member_id, member_id), (Entry.branch_id, branch_id), (Entry.outcome, outcome)):
        if value is not None:
            query = query.where(column == value)
    if since is not None:
        query = query.where(Entry.at >= since)
    if until is not None:
        query = query.where(Entry.at < until)
    try:
        return page(session, query, [Entry.at, Entry.entry_id], cursor, limit)
    except DataError as error:
        raise Problem(
            400, "bad_cursor", "cursor가 올바르지 않습니다.", "Not a cursor of ours; start again without it."
        ) from error


def forget(session: Session, keep: timedelta) -> int:
    """Delete entries older than `keep`. Returns how many."""
    gone = session.execute(delete(Entry).where(Entry.at < clock.now() - keep).returning(Entry.entry_id))
    return len(gone.all())
