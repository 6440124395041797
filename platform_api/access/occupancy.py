"""How many people are in a branch now, from what its gates logged.

Computed on demand from the entries of the last hours, by the time they happened: a log that arrives late, twice or out
of order changes nothing but what it must. No counter is kept that could drift.

Somebody recognised is one occupant until recognised on the way out. An exit nobody was recognised at (the free way out
by button) takes out whoever has been in longest. An exit with nobody inside changes nothing, so the count never falls
below 0. Whoever has been in for longer than `max_stay` is taken to have left unseen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.access.models import Entry


@dataclass(frozen=True)
class Passage:
    """Somebody went through a gate; `member_id` is None where nobody was recognised."""

    at: datetime
    entry_id: str
    member_id: str | None
    inward: bool


def fold(passages: Iterable[Passage], now: datetime, max_stay: timedelta) -> int:
    """How many are inside at `now`. The order in which `passages` come does not matter, and twice counts once."""
    inside: OrderedDict[str, datetime] = OrderedDict()
    for passage in sorted({p.entry_id: p for p in passages}.values(), key=lambda p: (p.at, p.entry_id)):
        if passage.at > now:
            break
        _age(inside, passage.at - max_stay)
        name = passage.member_id or f"?{passage.entry_id}"
        if passage.inward:
            inside[name] = passage.at
            inside.move_to_end(name)
        elif passage.member_id is not None:
            inside.pop(name, None)
        elif inside:
            inside.popitem(last=False)
    _age(inside, now - max_stay)
    return len(inside)


def _age(inside: OrderedDict[str, datetime], before: datetime) -> None:
    while inside and next(iter(inside.values())) <= before:
        inside.popitem(last=False)


def inside(session: Session, branch_id: str, now: datetime, max_stay: timedelta) -> int:
    """How many are in the branch at `now`.

    Reads twice `max_stay` back, so that exits of people who came before are matched with them. Granted passages
    count unless the gate could not be reached.
    """
    rows = session.execute(
        select(Entry.at, Entry.entry_id, Entry.member_id, Entry.direction, Entry.method).where(
            Entry.branch_id == branch_id,
            Entry.at > now - 2 * max_stay,
            Entry.at <= now,
            Entry.outcome == "granted",
            Entry.gate_result.is_distinct_from("unreachable"),
        )
    )
    passages = (
        Passage(at, entry_id, member_id, direction == "in" or (direction == "both" and method != "exit"))
        for at, entry_id, member_id, direction, method in rows
    )
    return fold(passages, now, max_stay)
