"""HTTP of what managers work with: the queue of judged tasks, reviews, faults, preference data."""

from typing import Any

from flask import Response

from platform_api.branch import faults, preferences, queue, reviews
from platform_api.branch import schemas_work as schemas
from platform_api.branch.models import Preference
from platform_api.core.openapi import BINARY
from platform_api.core.schemas import IfMatch, PageQuery, tagged
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("branch-work", "/branch/v1", "For managers: judged tasks, reviews, faults, preference data")
blueprints = [blp]

STAFF = ("branch_manager", "operator")


@blp.get("/tasks")
@require(*STAFF)
@transaction("branch")
@blp.arguments(schemas.TaskQuery, location="query")
@blp.response(200, schemas.JudgedTaskPage)
def waiting(query: dict[str, Any]) -> dict[str, Any]:
    """Tasks to decide about: oldest and least certain first (score = hours waited + 24 x uncertainty)."""
    items, cursor = queue.waiting(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/decisions")
@require(*STAFF)
@transaction("branch")
@blp.arguments(schemas.TaskQuery, location="query")
@blp.response(200, schemas.JudgedTaskPage)
def decisions(query: dict[str, Any]) -> dict[str, Any]:
    """Decided tasks, newest first: who, when, why."""
    items, cursor = queue.decided(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/tasks/<task_id>")
@require(*STAFF)
@transaction("branch")
@blp.response(200, schemas.JudgedTaskSchema)
def get_task(task_id: str) -> Any:
    """One task of a branch you run, with its ETag."""
    task = queue.get(current_session(), principal(), task_id)
    return tagged(task, task.version)


@blp.get("/tasks/<task_id>/photos/<photo_id>")
@require(*STAFF)
@transaction("branch")
@blp.response(200, BINARY, content_type="image/jpeg")
@blp.alt_response(410, "GONE")
def task_photo(task_id: str, photo_id: str) -> Response:
    """A photo of the work; each look is audited."""
    jpeg = queue.picture(current_session(), principal(), task_id, photo_id)
    headers = {"Cache-Control": "no-store", "Content-Disposition": "inline", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, 200, headers, content_type="image/jpeg")


@blp.post("/tasks/<task_id>/decision")
@require(*STAFF)
@transaction("branch", idempotent=True)
@blp.arguments(schemas.TaskDecision)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.JudgedTaskSchema)
def decide(said: dict[str, Any], headers: dict[str, Any], task_id: str) -> Any:
    """Confirm the AI's verdict, correct it, or send the work back; once and for good."""
    task = queue.decide(current_session(), principal(), task_id, said, headers["if_match"])
    return tagged(task, task.version)


@blp.get("/branches/<branch_id>/reviews")
@require(*STAFF)
@transaction("branch")
@blp.arguments(schemas.ReviewQuery, location="query")
@blp.response(200, schemas.BranchReviewPage)
def list_reviews(query: dict[str, Any], branch_id: str) -> dict[str, Any]:
    """Reviews of a branch you run, newest first."""
    items, cursor = reviews.listed(current_session(), principal(), branch_id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/branches/<branch_id>/reviews/summary")
@require(*STAFF)
@transaction("branch")
@blp.response(200, schemas.ReviewSummary)
def review_summary(branch_id: str) -> dict[str, Any]:
    """How many reviews of each rating, and the mean."""
    return reviews.summary(current_session(), principal(), branch_id)


@blp.get("/branches/<branch_id>/faults")
@require(*STAFF)
@transaction("branch")
@blp.arguments(schemas.FaultQuery, location="query")
@blp.response(200, schemas.BranchFaultPage)
def list_faults(query: dict[str, Any], branch_id: str) -> dict[str, Any]:
    """Faults of equipment in a branch you run, newest first."""
    items, cursor = faults.listed(current_session(), principal(), branch_id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/branches/<branch_id>/preferences")
@require(*STAFF)
@transaction("branch")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.PreferencePage)
def list_preferences(query: dict[str, Any], branch_id: str) -> dict[str, Any]:
    """What kind of place a branch of yours was found to be, newest first."""
    items, cursor = preferences.listed(current_session(), principal(), branch_id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/branches/<branch_id>/preferences")
@require("operator")
@transaction("branch", idempotent=True)
@blp.response(201, schemas.PreferenceSchema)
def compute_preference(branch_id: str) -> Preference:
    """Compute it now, from the visits and reviews of the last 90 days."""
    return preferences.compute(current_session(), principal().id, branch_id)
