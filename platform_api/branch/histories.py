"""What members did, by pseudonym, for the data side: where and when they went, how they rated it; nobody who was erased.

Times are those of the branch's clock, to the hour. Searches are not here: nobody keeps what a member has searched for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.branch.models import Branch, Review, Visit
from platform_api.branch.settings import settings
from platform_api.core.pagination import page
from platform_api.core.pseudonyms import Pseudonyms


@cache
def pseudonyms() -> Pseudonyms:
    """By the key ring of the process. Raises SettingsError where there is none."""
    return Pseudonyms.by_ring_file(settings().keyring_file)


def visits(
    session: Session, since: datetime | None, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Visits of members who were recognised, to branches that are known, the oldest first."""
    query = select(Visit).where(Visit.member_id.is_not(None))
    if since is not None:
        query = query.where(Visit.at >= since)
    rows, following = page(session, query, (Visit.at, Visit.entry_id), cursor, limit, descending=False)
    zones = _zones(session, {row.branch_id for row in rows})
    found = []
    for row in rows:
        zone = zones.get(row.branch_id)
        if zone is not None:
            at = row.at.astimezone(zone)
            when = {"day": at.date(), "weekday": at.weekday(), "hour": at.hour}
            found.append({"member": pseudonyms().of(row.member_id), "branch_id": row.branch_id, **when})
    return found, following


def reviews(session: Session, cursor: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Ratings of members, in the order of the reviews' ids; not what they wrote."""
    query = select(Review).where(Review.member_id.is_not(None), Review.state != "removed")
    rows, following = page(session, query, (Review.review_id,), cursor, limit, descending=False)
    zones = _zones(session, {row.branch_id for row in rows})
    found = [
        {
            "member": pseudonyms().of(row.member_id),
            "branch_id": row.branch_id,
            "rating": row.rating,
            "day": row.posted_at.astimezone(zones[row.branch_id]).date(),
        }
        for row in rows
    ]
    return found, following


def _zones(session: Session, branch_ids: set[str]) -> Mapping[str, ZoneInfo]:
    wanted: Sequence[str] = sorted(branch_ids)
    query = select(Branch.branch_id, Branch.timezone).where(Branch.branch_id.in_(wanted))
    return {branch_id: ZoneInfo(zone) for branch_id, zone in session.execute(query)}
