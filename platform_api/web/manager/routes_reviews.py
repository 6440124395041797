"""What members say of a branch, to its manager."""

from __future__ import annotations

from functools import partial

from flask import Response, request

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, chosen, page
from platform_api.web.pages import backend, for_roles

PAGE = 20


@manager.get("/app/manage/reviews")
@for_roles(*STAFF)
def reviews() -> Response:
    """Reviews, newest first, and how many there are of each rating."""
    here = chosen()
    said = request.args.get("rating", "")
    rating = int(said) if said in ("1", "2", "3", "4", "5") else None
    path = f"/branch/v1/branches/{here.branch_id}/reviews"
    found, summary = backend().together(
        partial(backend().get, path, rating=rating, cursor=request.args.get("cursor"), limit=PAGE),
        partial(backend().get, f"{path}/summary"),
    )
    for answer in (found, summary):
        if isinstance(answer, Problem) and answer.code != "branch_not_found":
            raise answer
    if isinstance(found, Problem) or isinstance(summary, Problem):
        return page("reviews.html", here, unknown=True)
    return page(
        "reviews.html", here, reviews=found["items"], cursor=found["next_cursor"], summary=summary, rating=rating
    )
