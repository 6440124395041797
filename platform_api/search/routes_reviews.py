"""HTTP of reviews and their moderation."""

from typing import Any

from platform_api.core.schemas import PEOPLE, IfMatch, PageQuery, tagged
from platform_api.core.security import principal, require, same_member
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.search import moderation, reviews, schemas_reviews
from platform_api.search.callers import anyone, caller
from platform_api.search.models import Report, Review

blp = blueprint("reviews", "/search/v1", "What members say of branches, and its moderation")
blueprints = [blp]

Answer = tuple[Any, int, dict[str, str]]


def _shown(review: Review) -> dict[str, Any]:
    who = caller()
    columns = {column.key: getattr(review, column.key) for column in review.__mapper__.column_attrs}
    return {**columns, "mine": who is not None and who.id == review.member_id}


def _page(found: tuple[list[Review], str | None]) -> dict[str, Any]:
    rows, cursor = found
    return {"items": [_shown(row) for row in rows], "next_cursor": cursor}


@blp.get("/branches/<branch_id>/reviews")
@anyone
@transaction("search")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_reviews.ReviewPage)
def of_branch(query: dict[str, Any], branch_id: str) -> dict[str, Any]:
    """What members say of a branch, the newest first."""
    return _page(reviews.of_branch(current_session(), branch_id, query["cursor"], query["limit"]))


@blp.post("/branches/<branch_id>/reviews")
@require("customer")
@transaction("search", idempotent=True)
@blp.arguments(schemas_reviews.NewReview)
@blp.response(201, schemas_reviews.ReviewSchema)
def post(wanted: dict[str, Any], branch_id: str) -> Answer:
    """Say something of a branch that you have visited; once, to be edited afterwards."""
    review = reviews.post(current_session(), principal(), branch_id, wanted["rating"], wanted["text"])
    return tagged(_shown(review), review.version, 201)


@blp.get("/reviews")
@require(*PEOPLE)
@transaction("search")
@blp.arguments(schemas_reviews.MyReviewsQuery, location="query")
@blp.response(200, schemas_reviews.ReviewPage)
def of_member(query: dict[str, Any]) -> dict[str, Any]:
    """Your own reviews, hidden ones too; any member's for operators."""
    member_id = query["member_id"] or principal().id
    same_member(member_id)
    return _page(reviews.of_member(current_session(), member_id, query["cursor"], query["limit"]))


@blp.get("/reviews/<review_id>")
@anyone
@transaction("search")
@blp.response(200, schemas_reviews.ReviewSchema)
def get(review_id: str) -> Answer:
    """One review, with its ETag."""
    review = reviews.seen(current_session(), caller(), review_id)
    return tagged(_shown(review), review.version)


@blp.patch("/reviews/<review_id>")
@require("customer")
@transaction("search", idempotent=True)
@blp.arguments(schemas_reviews.ReviewChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas_reviews.ReviewSchema)
def edit(wanted: dict[str, Any], headers: dict[str, Any], review_id: str) -> Answer:
    """Change your review; send the ETag that you read."""
    review = reviews.edit(current_session(), principal(), review_id, wanted, headers["if_match"])
    return tagged(_shown(review), review.version)


@blp.delete("/reviews/<review_id>")
@require("customer")
@transaction("search", idempotent=True)
@blp.arguments(IfMatch, location="headers")
@blp.response(204)
def delete(headers: dict[str, Any], review_id: str) -> None:
    """Take your review back."""
    reviews.take_back(current_session(), principal(), review_id, headers["if_match"])


@blp.post("/reviews/<review_id>/reports")
@require(*PEOPLE)
@transaction("search", idempotent=True)
@blp.arguments(schemas_reviews.NewReport)
@blp.response(201, schemas_reviews.ReportSchema)
def report(wanted: dict[str, Any], review_id: str) -> Report:
    """Complain about a review."""
    return moderation.report(current_session(), principal(), review_id, wanted["reason"], wanted["text"])


@blp.get("/moderation/reviews")
@require("operator")
@transaction("search")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_reviews.ReportedPage)
def reported(query: dict[str, Any]) -> dict[str, Any]:
    """Reviews with open reports, the longest waiting first."""
    return _page(moderation.reported(current_session(), query["cursor"], query["limit"]))


@blp.get("/moderation/reviews/<review_id>/reports")
@require("operator")
@transaction("search")
@blp.response(200, schemas_reviews.ReportList)
def reports(review_id: str) -> dict[str, Any]:
    """The reports of a review."""
    reviews.seen(current_session(), principal(), review_id)
    return {"items": moderation.reports_of(current_session(), review_id)}


@blp.post("/moderation/reviews/<review_id>/decision")
@require("operator")
@transaction("search", idempotent=True)
@blp.arguments(schemas_reviews.Decision)
@blp.response(200, schemas_reviews.ReportedSchema)
def decide(wanted: dict[str, Any], review_id: str) -> Answer:
    """Keep or remove a review; its reports are dealt with."""
    review = moderation.decide(current_session(), principal(), review_id, wanted["decision"], wanted["note"])
    return tagged(_shown(review), review.version)
