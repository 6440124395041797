"""Reviews of branches, as the search domain posts them; read here by the branch's managers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.branch import branches
from platform_api.branch.authority import must_manage
from platform_api.branch.models import Branch, ErasedMember, Review
from platform_api.branch.queue import NotKnownYet
from platform_api.core.pagination import page
from platform_api.core.security import Principal


def apply(session: Session, data: Mapping[str, Any], version: int) -> None:
    """Take over a review at `version`; older news is passed over, and what was removed stays empty.

    Raises:
        NotKnownYet: no such branch.
    """
    if session.get(Branch, data["branch_id"]) is None:
        raise NotKnownYet(f"branch {data['branch_id']} is not known here")
    removed = data["state"] == "removed"
    gone = removed or session.get(ErasedMember, data["member_id"]) is not None
    values = {
        "branch_id": data["branch_id"],
        "member_id": None if gone else data["member_id"],
        "rating": data["rating"],
        "body": "" if gone else data["text"],
        "language": data["language"],
        "state": "removed" if gone else data["state"],
        "posted_at": datetime.fromisoformat(data["posted_at"]),
        "version": version,
    }
    statement = insert(Review).values(review_id=data["review_id"], **values)
    newer = (Review.version < version) & (Review.state != "removed")
    session.execute(statement.on_conflict_do_update(index_elements=["review_id"], set_=values, where=newer))


def listed(
    session: Session, who: Principal, branch_id: str, *, rating: int | None, cursor: str | None, limit: int
) -> tuple[list[Review], str | None]:
    """Reviews of a branch the caller runs, newest first.

    Raises:
        Problem: 403; 404.
    """
    must_manage(who, branches.get(session, branch_id))
    query = select(Review).where(Review.branch_id == branch_id, Review.state != "removed")
    if rating is not None:
        query = query.where(Review.rating == rating)
    return page(session, query, [Review.posted_at, Review.review_id], cursor, limit)


def summary(session: Session, who: Principal, branch_id: str) -> dict[str, Any]:
    """How many reviews of each rating, and the mean (null: none yet).

    Raises:
        Problem: 403; 404.
    """
    must_manage(who, branches.get(session, branch_id))
    query = select(Review.rating, func.count()).where(Review.branch_id == branch_id, Review.state != "removed")
    counts = {str(stars): 0 for stars in range(1, 6)}
    counts.update({str(rating): number for rating, number in session.execute(query.group_by(Review.rating))})
    total = sum(counts.values())
    mean = sum(int(stars) * number for stars, number in counts.items()) / total if total else None
    return {"reviews": total, "mean": None if mean is None else round(mean, 2), "by_rating": counts}


def forget(session: Session, member_id: str) -> None:
    """Empty the reviews of an erased member."""
    for review in session.scalars(select(Review).where(Review.member_id == member_id).with_for_update()):
        review.member_id, review.body, review.state = None, "", "removed"
