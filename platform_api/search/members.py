"""What is kept of members: where they have been, what they seem to like; and their erasure."""

import math
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.security import audit
from platform_api.search import pending
from platform_api.search.documents import SAME_TRAIT
from platform_api.search.models import Branch, Member, Report, Review, Visit
from platform_api.search.ranking import Taste

FORGET_DAYS = 180.0
"""A visit of half a year ago counts 1/e of one of today."""
_UNREVIEWED, _SURE_AT = 0.4, 2.0
_AVERAGE_TRAIT = 0.5
"""What the branch domain says where it knows nothing."""


def lock(session: Session, member_id: str) -> Member:
    """The member's row, made where it is missing, locked until the end of the transaction."""
    session.execute(insert(Member).values(member_id=member_id).on_conflict_do_nothing())
    query = select(Member).where(Member.member_id == member_id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def visited(session: Session, member_id: str, branch_id: str, at: datetime) -> None:
    """The member has been let into the branch. Nothing is kept of an erased member."""
    member = lock(session, member_id)
    if member.erased_at is not None:
        return
    row = insert(Visit).values(member_id=member_id, branch_id=branch_id, visits=1, first_at=at, last_at=at)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["member_id", "branch_id"],
            set_={
                "visits": Visit.visits + 1,
                "first_at": func.least(Visit.first_at, at),
                "last_at": func.greatest(Visit.last_at, at),
            },
        )
    )
    refresh_taste(session, member)


def has_visited(session: Session, member_id: str, branch_id: str) -> bool:
    """Whether the member has ever been in the branch."""
    return session.get(Visit, (member_id, branch_id)) is not None


def refresh_taste(session: Session, member: Member) -> None:
    """Compute anew what the member likes, from visits and reviews."""
    rows = session.execute(
        select(Visit.branch_id, Visit.visits, Visit.last_at, Branch.traits, Branch.amenities, Review.rating)
        .outerjoin(Branch, Branch.branch_id == Visit.branch_id)
        .outerjoin(Review, (Review.member_id == Visit.member_id) & (Review.branch_id == Visit.branch_id))
        .where(Visit.member_id == member.member_id)
    ).all()
    now = clock.now()
    traits: dict[str, float] = {}
    amenities: dict[str, float] = {}
    total = 0.0
    for _, visits, last_at, branch_traits, branch_amenities, rating in rows:
        often = math.log1p(visits) * math.exp(-max(0.0, (now - last_at).total_seconds()) / 86400 / FORGET_DAYS)
        # Five stars count for a branch and one star against it; who says nothing but comes again is content.
        weight = often * (_UNREVIEWED if rating is None else (rating - 3) / 2)
        total += abs(weight)
        for name, value in (branch_traits or {}).items():
            code = SAME_TRAIT.get(name, name)
            traits[code] = traits.get(code, 0.0) + weight * (value - _AVERAGE_TRAIT)
        for code in branch_amenities or ():
            amenities[code] = amenities.get(code, 0.0) + weight
    # Little evidence makes for a weak opinion.
    scale = 1 / (total + _SURE_AT)
    member.taste = {
        "traits": {code: round(_clip(2 * value * scale), 3) for code, value in sorted(traits.items())},
        "amenities": {code: round(_clip(value * scale), 3) for code, value in sorted(amenities.items())},
        "visited": {branch_id: visits for branch_id, visits, *_ in rows},
    }
    member.taste_at = now


def taste(session: Session, member_id: str) -> Taste | None:
    """The member's taste for the ranking; None where nothing is known.

    A trait counts by the mean of what the member's own visits tell, and of what was learnt from all members' together.
    """
    row = session.execute(select(Member.taste, Member.learnt).where(Member.member_id == member_id)).first()
    own, learnt = row or (None, None)
    if not own and not learnt:
        return None
    own, learnt = own or {}, learnt or {}
    traits, more = dict(own.get("traits", {})), learnt.get("traits", {})
    for code in more:
        traits[code] = round((traits.get(code, 0.0) + more[code]) / 2, 3)
    return Taste(traits, own.get("amenities", {}), own.get("visited", {}), learnt.get("branches", {}))


def described(session: Session, member_id: str) -> dict[str, Any]:
    """What is kept of the member's preferences, for the member to see."""
    member = session.get(Member, member_id)
    found = (member.taste if member else None) or {"traits": {}, "amenities": {}, "visited": {}}
    learnt = (member.learnt if member else None) or {"branches": {}, "traits": {}}
    return {
        "member_id": member_id,
        **found,
        "computed_at": member.taste_at if member else None,
        "recommended": learnt["branches"],
        "learnt_traits": learnt["traits"],
        "learnt_at": member.learnt_at if member else None,
    }


def erase(session: Session, member_id: str) -> list[Review]:
    """Remove visits, preferences, reports and reviews of a member; may be repeated. Returns the reviews that went."""
    member = lock(session, member_id)
    reviews = list(session.scalars(select(Review).where(Review.member_id == member_id).with_for_update()))
    reported = set(session.scalars(select(Report.review_id).where(Report.member_id == member_id)))
    session.execute(delete(Report).where(Report.member_id == member_id))
    for review_id in reported - {review.review_id for review in reviews}:
        recount_reports(session, session.get_one(Review, review_id, with_for_update=True))
    for review in reviews:
        session.delete(review)
    session.execute(delete(Visit).where(Visit.member_id == member_id))
    member.taste = member.taste_at = member.learnt = member.learnt_version = member.learnt_at = None
    pending.mark(session, {review.branch_id for review in reviews})
    if member.erased_at is None:
        member.erased_at = clock.now()
        audit.record(session, "system", "member.erase", member_id)
    session.flush()
    return reviews


def recount_reports(session: Session, review: Review) -> None:
    """Bring the count of open reports of a review in line with its reports."""
    session.flush()
    count, oldest = session.execute(
        select(func.count(), func.min(Report.created_at)).where(
            Report.review_id == review.review_id, Report.decided_at.is_(None)
        )
    ).one()
    review.open_reports, review.reported_at = count, oldest


def _clip(value: float) -> float:
    return max(-1.0, min(1.0, value))
