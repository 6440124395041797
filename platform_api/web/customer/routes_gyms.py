"""A branch's page, for everybody; how full it is and writing of it for members."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.names import named
from platform_api.web.customer.reviews import posted, written
from platform_api.web.customer.routes_reviews import own_review, review_form
from platform_api.web.pages import backend, for_roles, idempotency_key, show
from platform_api.web.signin import person
from platform_api.web.words_gyms import GYMS

REVIEWS = 10
A_DAY = "public, max-age=86400, immutable"


@customer.get("/app/gyms/<branch_id>")
def gym(branch_id: str) -> Response:
    """What a branch is like."""
    return _page(branch_id)


@customer.post("/app/gyms/<branch_id>")
@for_roles()
def review_gym(branch_id: str) -> Response:
    """Say something of it."""
    review = written()
    if review.errors:
        return _page(branch_id, review=review, status=422)
    try:
        path = f"/search/v1/branches/{_quoted(branch_id)}/reviews"
        backend().send("POST", path, body=review.body(), key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        if problem.code == "review_exists":
            # In another tab, or long ago: what was typed may take its place.
            return review_form(own_review(problem.extra["review_id"]), review, status=409, problem=problem)
        return _page(branch_id, review=review.told(problem), status=problem.status, problem=problem)
    return make_response(redirect(url_for("customer.gym", branch_id=branch_id, told="reviewed"), 303))


@customer.get("/app/gyms/<branch_id>/now")
def gym_now(branch_id: str) -> Response:
    """How full it is: the part of the page that is asked for again and again."""
    if person() is None:
        return Response(status=204)
    try:
        inside = _occupancy(branch_id)
    except Problem:
        return Response(status=204)
    return show("customer/parts/now.html", inside=inside)


@customer.get("/app/gyms/<branch_id>/photos/<photo_id>")
def gym_photo(branch_id: str, photo_id: str) -> Response:
    """A photo; it never changes."""
    photo = backend().passed_on(f"/branch/v1/branches/{_quoted(branch_id)}/photos/{_quoted(photo_id)}")
    photo.headers["Cache-Control"] = A_DAY
    return photo


def _page(branch_id: str, *, review: Any = None, status: int = 200, problem: Problem | None = None) -> Response:
    path, reviews = f"/branch/v1/branches/{_quoted(branch_id)}", f"/search/v1/branches/{_quoted(branch_id)}/reviews"
    cursor = request.args.get("cursor")
    questions = [
        lambda: backend().get(path),
        lambda: backend().get(f"/search/v1/branches/{_quoted(branch_id)}"),
        lambda: backend().get(reviews, cursor=cursor, limit=REVIEWS),
    ]
    signed_in = person() is not None
    if signed_in:
        questions += [lambda: _occupancy(branch_id), lambda: _visits(branch_id), lambda: posted(branch_id)]
    # Without the branch there is no page; without any of the others, only less of one.
    branch, *others = backend().together(*questions)
    if isinstance(branch, Problem):
        raise branch
    profile, said, inside, visits, mine = [
        *(None if isinstance(each, Problem) else each for each in others),
        *[None] * 3,
    ][:5]
    return show(
        "customer/gym.html", status, gym=branch, name=named(branch), profile=profile, said=said, inside=inside,
        visits=visits, mine=mine, review=review, problem=problem, week=_week(branch), today=_today(branch),
        told=request.args.get("told"), report_reasons=GYMS["report_reason"],
    )  # fmt: skip


def _occupancy(branch_id: str) -> Any:
    return backend().get(f"/access/v1/branches/{_quoted(branch_id)}/occupancy")


def _visits(branch_id: str) -> int:
    """How often the member has been there, as search has heard."""
    visited = backend().get("/search/v1/members/me/preferences")["visited"]
    return int(visited.get(branch_id, 0))


def _week(branch: dict[str, Any]) -> list[tuple[str, list[str]]] | None:
    """The opening times of each day; None: around the clock."""
    hours = branch["hours"]
    if hours is None:
        return None
    return [(day, [f"{start}–{end}" for start, end in hours.get(day, ())]) for day in GYMS["weekday"]]


def _today(branch: dict[str, Any]) -> str:
    return list(GYMS["weekday"])[datetime.now(ZoneInfo(branch["timezone"])).weekday()]


def _quoted(part: str) -> str:
    return quote(part, safe="")
