"""Reviews that somebody complained about: kept or removed."""

from __future__ import annotations

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import operations
from platform_api.web.operations.asking import answers, back, get
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

PAGE = 10


@operations.get("/app/ops/moderation")
@for_roles("operator")
def moderation() -> Response:
    """Those with open complaints, the longest waiting first."""
    return _queue()


@operations.post("/app/ops/moderation/<review_id>")
@for_roles("operator")
def moderate(review_id: str) -> Response:
    """Keep or remove one."""
    said = {"decision": typed("decision", 10)}
    try:
        backend().send("POST", f"/search/v1/moderation/reviews/{review_id}/decision", body=said, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        return _queue(problem)
    return back(url_for("operations.moderation", told=said["decision"]))


def _queue(problem: Problem | None = None) -> Response:
    page = backend().get("/search/v1/moderation/reviews", limit=PAGE, cursor=request.args.get("cursor"))
    questions = {
        each["review_id"]: get(f"/search/v1/moderation/reviews/{each['review_id']}/reports") for each in page["items"]
    }
    reports, _ = answers(questions) if questions else ({}, {})
    return show(
        "operations/moderation.html", problem.status if problem else 200, reviews=page["items"],
        cursor=page["next_cursor"], reports={key: value["items"] for key, value in reports.items()},
        problem=problem, told=request.args.get("told"),
    )  # fmt: skip
