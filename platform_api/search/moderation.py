"""Reports of reviews, and what operators decide on them.

A review that enough members report is hidden at once; an operator then decides. Decided reports count no more, so that
the same complaint cannot hide a review twice.
"""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.search import members, reviews
from platform_api.search.models import Report, Review
from platform_api.search.settings import settings


def report(session: Session, who: Principal, review_id: str, reason: str, text: str | None) -> Report:
    """Complain about a review.

    Raises:
        Problem: 404; 409 `own_review`, `already_reported`, `member_erased`.
    """
    if members.lock(session, who.id).erased_at is not None:
        raise Problem(409, "member_erased", "탈퇴한 회원입니다.", "This member has been erased.")
    reviews.seen(session, who, review_id)
    review = session.get_one(Review, review_id, with_for_update=True, populate_existing=True)
    if review.member_id == who.id:
        raise Problem(
            409, "own_review", "자신의 리뷰는 신고할 수 없습니다.", "This is your own review; delete it instead."
        )
    query = select(Report).where(Report.review_id == review_id, Report.member_id == who.id)
    if session.scalar(query) is not None:
        raise Problem(409, "already_reported", "이미 신고한 리뷰입니다.", "You have reported this review already.")
    made = Report(review_id=review_id, member_id=who.id, reason=reason, text=text)
    session.add(made)
    members.recount_reports(session, review)
    if review.state == "posted" and review.open_reports >= settings().search_reports_to_hide:
        _show(session, review, "held")
        audit.record(session, "system", "review.hold", review_id, {"reports": review.open_reports})
    session.flush()
    return made


def reported(session: Session, cursor: str | None, limit: int) -> tuple[list[Review], str | None]:
    """Reviews with open reports, the longest waiting first."""
    query = select(Review).where(Review.reported_at.is_not(None))
    return page(session, query, (Review.reported_at, Review.review_id), cursor, limit, descending=False)


def reports_of(session: Session, review_id: str) -> list[Report]:
    """The reports of a review, the oldest first."""
    return list(session.scalars(select(Report).where(Report.review_id == review_id).order_by(Report.report_id)))


def decide(session: Session, who: Principal, review_id: str, decision: str, note: str | None) -> Review:
    """Keep or remove a review; its open reports are dealt with. A removed one may be restored by `keep`.

    Raises:
        Problem: 404.
    """
    review = session.get(Review, review_id, with_for_update=True)
    if review is None:
        raise Problem(404, "review_unknown", "없는 리뷰입니다.", "There is no such review.")
    open_reports = update(Report).where(Report.review_id == review_id, Report.decided_at.is_(None))
    session.execute(open_reports.values(decided_at=clock.now()))
    members.recount_reports(session, review)
    wanted = "posted" if decision == "keep" else "removed"
    if review.state != wanted:
        _show(session, review, wanted)
    audit.record(session, who.id, f"review.{decision}", review_id, {"note": note} if note else None)
    return review


def _show(session: Session, review: Review, state: str) -> None:
    """Show or hide a review, and tell the others."""
    before, review.state = review.state, state
    review.version += 1
    session.flush()
    if "posted" in (before, state):
        reviews.announce(session, review, "posted" if state == "posted" else "removed")
