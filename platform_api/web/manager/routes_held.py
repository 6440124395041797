"""Enrolments held for looking like another member: crops side by side, decided by operators."""

from __future__ import annotations

from functools import partial

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

PAGE = 20


@manager.get("/app/manage/faces/held")
@for_roles("operator")
def held() -> Response:
    """Those that wait, newest first."""
    found = backend().get("/auth/v1/face-reviews", cursor=request.args.get("cursor"), limit=PAGE)
    told = request.args.get("told")
    return show("manager/held.html", reviews=found["items"], cursor=found["next_cursor"], told=told)


@manager.get("/app/manage/faces/held/<review_id>/photos")
@for_roles("operator")
def held_review(review_id: str) -> Response:
    """The crops of one, beside those of the members it looks like; that somebody looked is audited."""
    return _compared(review_id)


@manager.post("/app/manage/faces/held/<review_id>/decision")
@for_roles("operator")
def decide_held(review_id: str) -> Response:
    """Approve or reject it."""
    said = {"decision": typed("decision", 10), "note": typed("note", 500) or None}
    try:
        backend().send("POST", f"/auth/v1/face-reviews/{review_id}/decision", body=said, key=idempotency_key())
    except Problem as problem:
        if problem.status not in (403, 409, 422):
            raise
        return _compared(review_id, problem)
    return make_response(redirect(url_for("manager.held", told=said["decision"]), 303))


def _compared(review_id: str, problem: Problem | None = None) -> Response:
    pending, crops = backend().all_of(
        partial(backend().get, "/auth/v1/face-reviews", limit=200),
        partial(backend().get, f"/auth/v1/face-reviews/{review_id}/photos"),
    )
    review = next((each for each in pending["items"] if each["review_id"] == review_id), None)
    status = problem.status if problem else 200
    return show("manager/held_review.html", status, review_id=review_id, review=review, crops=crops, problem=problem)
