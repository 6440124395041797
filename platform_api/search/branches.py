"""Our copy of branches, and the facts that a document is made of."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.events import PermanentFailure
from platform_api.search import extractions, hours, pending
from platform_api.search.documents import Facts
from platform_api.search.keywords import Extracted
from platform_api.search.models import Branch, Review

FIELDS = (
    "name", "name_en", "description", "description_en", "address", "region", "latitude", "longitude", "timezone", "hours",
    "amenities", "prices", "phone", "status",
)  # fmt: skip
_PAGE = ("description", "description_en")
_REVIEW_TEXTS = 60


class NotYetKnown(Exception):
    """The branch has not been heard of: its own event may be on the way."""


def apply(session: Session, branch_id: str, version: int, data: Mapping[str, Any]) -> None:
    """Take over what the branch domain says of a branch at `version`; older news is passed over.

    Raises:
        PermanentFailure: hours that cannot be read, for ever.
    """
    if data["hours"] is not None and not hours.readable(data["hours"]):
        raise PermanentFailure(f"hours of {branch_id} cannot be read")
    branch = session.get(Branch, branch_id, with_for_update=True)
    if branch is not None and version <= branch.version:
        return
    if branch is None:
        branch = Branch(branch_id=branch_id, traits={})
        session.add(branch)
    elif any((data.get(name) or "") != (getattr(branch, name) or "") for name in _PAGE):
        extractions.forget(session, branch_id)
    for name in FIELDS:
        setattr(branch, name, data.get(name))
    branch.description = data.get("description") or ""
    branch.version, branch.changed_at = version, clock.now()
    session.flush()
    pending.mark(session, [branch_id])


def apply_traits(session: Session, branch_id: str, computed_at: datetime, traits: Mapping[str, float]) -> None:
    """Take over the measured traits of a branch; older ones are passed over.

    Raises:
        NotYetKnown: no such branch here yet.
    """
    branch = session.get(Branch, branch_id, with_for_update=True)
    if branch is None:
        raise NotYetKnown(branch_id)
    if branch.traits_at is not None and computed_at <= branch.traits_at:
        return
    branch.traits, branch.traits_at = dict(traits), computed_at
    pending.mark(session, [branch_id])


def facts(session: Session, branch_ids: Sequence[str]) -> dict[str, Facts | None]:
    """What documents are made of; None for a branch that is not to be found (closed, not open yet, unknown)."""
    branches = {b.branch_id: b for b in session.scalars(select(Branch).where(Branch.branch_id.in_(branch_ids)))}
    visible = select(Review).where(Review.branch_id.in_(branch_ids), Review.state == "posted").subquery()
    counts = {
        branch_id: (count, stars, latest)
        for branch_id, count, stars, latest in session.execute(
            select(
                visible.c.branch_id, func.count(), func.sum(visible.c.rating), func.max(visible.c.created_at)
            ).group_by(visible.c.branch_id)
        )
    }
    newest = func.row_number().over(partition_by=visible.c.branch_id, order_by=visible.c.created_at.desc())
    numbered = select(visible.c.branch_id, visible.c.review_id, visible.c.text, newest.label("place")).subquery()
    kept = extractions.of(session, branch_ids)
    read = {(branch_id, review_id) for branch_id, row in kept.items() for review_id in row.review_ids}
    texts: dict[str, list[str]] = {}
    for branch_id, review_id, text in session.execute(
        select(numbered.c.branch_id, numbered.c.review_id, numbered.c.text).where(numbered.c.place <= _REVIEW_TEXTS)
    ):
        if (branch_id, review_id) not in read:
            texts.setdefault(branch_id, []).append(text)
    extracted = {branch_id: extractions.extracted(row) for branch_id, row in kept.items()}
    return {
        branch_id: _facts(
            branches.get(branch_id), counts.get(branch_id), texts.get(branch_id, ()), extracted.get(branch_id)
        )
        for branch_id in branch_ids
    }


def _facts(
    branch: Branch | None,
    counted: tuple[int, int, datetime] | None,
    texts: Sequence[str],
    extracted: Extracted | None,
) -> Facts | None:
    if branch is None or branch.status != "open":
        return None
    reviews, stars, latest = counted or (0, 0, branch.changed_at)
    fields = {name: getattr(branch, name) for name in FIELDS if name != "status"}
    return Facts(
        branch_id=branch.branch_id, reviews=reviews, stars=int(stars), texts=texts, extracted=extracted, traits=branch.traits,
        last_change=max(latest, branch.changed_at), **fields,
    )  # fmt: skip


def all_ids(session: Session, batch: int = 500) -> Iterator[list[str]]:
    """The ids of branches that may be found, in batches, in order."""
    last = ""
    while True:
        query = select(Branch.branch_id).where(Branch.status == "open", Branch.branch_id > last)
        ids = list(session.scalars(query.order_by(Branch.branch_id).limit(batch)))
        if not ids:
            return
        yield ids
        last = ids[-1]
