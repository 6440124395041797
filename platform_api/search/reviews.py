"""Reviews: posted by those who have been there, one for each member and branch, edited and taken back by their authors."""

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.search import extractions, members, pending
from platform_api.search.models import Branch, Review

LONGEST = 2000
_HANGUL = re.compile(r"[가-힣]")


def post(session: Session, who: Principal, branch_id: str, rating: int, text: str) -> Review:
    """Say something of a branch.

    Raises:
        Problem: 404 no such branch; 403 `not_visited`; 409 `review_exists`, `member_erased`.
    """
    member = members.lock(session, who.id)
    if member.erased_at is not None:
        raise Problem(409, "member_erased", "탈퇴한 회원입니다.", "This member has been erased.")
    if session.get(Branch, branch_id) is None:
        raise Problem(404, "branch_unknown", "없는 지점입니다.", "There is no such branch.")
    if not members.has_visited(session, who.id, branch_id):
        raise Problem(
            403,
            "not_visited",
            "이 지점을 이용한 뒤에 리뷰를 쓸 수 있습니다.",
            "Reviews are for members who have been there; visit the branch first.",
        )
    before = session.scalar(select(Review).where(Review.member_id == who.id, Review.branch_id == branch_id))
    if before is not None:
        raise Problem(
            409,
            "review_exists",
            "이미 리뷰를 쓴 지점입니다. 쓴 리뷰를 고치세요."
            if before.state != "removed"
            else "운영자가 지운 리뷰가 있습니다.",
            "You have reviewed this branch; edit that review.",
            review_id=before.review_id,
        )
    review = Review(branch_id=branch_id, member_id=who.id, rating=rating, text=text, language=_language(text))
    session.add(review)
    session.flush()
    members.refresh_taste(session, member)
    announce(session, review, "posted")
    audit.record(session, who.id, "review.post", review.review_id, {"branch_id": branch_id})
    return review


def edit(session: Session, who: Principal, review_id: str, fields: dict[str, Any], if_match: str | None) -> Review:
    """Change the rating or the text of one's own review.

    Raises:
        Problem: 404 not yours or not there; 409 `review_removed`; 412 changed since; 428 without If-Match.
    """
    review = own(session, who, review_id)
    check_match(if_match, review.version, required=True)
    if review.state == "removed":
        raise Problem(409, "review_removed", "운영자가 지운 리뷰입니다.", "An operator removed this review.")
    for name, value in fields.items():
        setattr(review, name, value)
    review.language = _language(review.text)
    review.version += 1
    review.edited_at = clock.now()
    session.flush()
    members.refresh_taste(session, members.lock(session, who.id))
    if review.state == "posted":
        announce(session, review, "edited")
    audit.record(session, who.id, "review.edit", review_id, {"fields": sorted(fields)})
    return review


def take_back(session: Session, who: Principal, review_id: str, if_match: str | None) -> None:
    """Delete one's own review. One that an operator removed stays as it is, so that it cannot be posted again."""
    review = own(session, who, review_id)
    check_match(if_match, review.version)
    if review.state == "removed":
        raise Problem(409, "review_removed", "운영자가 지운 리뷰입니다.", "An operator removed this review.")
    review.version += 1
    announce(session, review, "removed")
    session.delete(review)
    session.flush()
    members.refresh_taste(session, members.lock(session, who.id))
    audit.record(session, who.id, "review.delete", review_id, {"branch_id": review.branch_id})


def of_branch(session: Session, branch_id: str, cursor: str | None, limit: int) -> tuple[list[Review], str | None]:
    """The visible reviews of a branch, the newest first. Raises 404 for an unknown branch."""
    if session.get(Branch, branch_id) is None:
        raise Problem(404, "branch_unknown", "없는 지점입니다.", "There is no such branch.")
    query = select(Review).where(Review.branch_id == branch_id, Review.state == "posted")
    return page(session, query, (Review.created_at, Review.review_id), cursor, limit)


def of_member(session: Session, member_id: str, cursor: str | None, limit: int) -> tuple[list[Review], str | None]:
    """All reviews of a member, hidden and removed ones too: for their author."""
    query = select(Review).where(Review.member_id == member_id)
    return page(session, query, (Review.created_at, Review.review_id), cursor, limit)


def seen(session: Session, who: Principal | None, review_id: str) -> Review:
    """A review that the caller may see: a visible one, one's own, any for operators. Raises 404 otherwise."""
    review = session.get(Review, review_id)
    if review is None or not (
        review.state == "posted" or (who is not None and (who.id == review.member_id or who.is_operator))
    ):
        raise _not_found()
    return review


def own(session: Session, who: Principal, review_id: str) -> Review:
    """One's own review, locked; the member first, as everywhere. Raises 404 for anybody else's."""
    members.lock(session, who.id)
    query = select(Review).where(Review.review_id == review_id, Review.member_id == who.id).with_for_update()
    review = session.scalars(query).first()
    if review is None:
        raise _not_found()
    return review


def announce(session: Session, review: Review, state: str) -> None:
    """Publish how a review stands, and have its branch indexed anew, without what was extracted of its former text."""
    extractions.forget(session, review.branch_id, review.review_id)
    data = {
        "review_id": review.review_id,
        "branch_id": review.branch_id,
        "member_id": review.member_id,
        "rating": review.rating,
        "text": review.text if state != "removed" else "",
        "language": review.language,
        "state": state,
        "posted_at": review.created_at.isoformat(),
    }
    publish(session, "search.ReviewPosted", subject=review.review_id, version=review.version, data=data)
    pending.mark(session, [review.branch_id])


def _language(text: str) -> str:
    return "ko" if _HANGUL.search(text) else "en"


def _not_found() -> Problem:
    return Problem(404, "review_unknown", "없는 리뷰입니다.", "There is no such review.")
