"""One's own reviews: read, changed, taken back; and complaints about others'."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.backend import Answer
from platform_api.web.customer import customer
from platform_api.web.customer.names import names_of
from platform_api.web.customer.reviews import Written, etag, written
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed
from platform_api.web.words_gyms import GYMS

PER_PAGE = 20


@customer.get("/app/reviews")
@for_roles()
def reviews() -> Response:
    """One's own reviews, hidden ones too."""
    found = backend().get("/search/v1/reviews", cursor=request.args.get("cursor"), limit=PER_PAGE)
    names = names_of(review["branch_id"] for review in found["items"])
    return show("customer/reviews.html", reviews=found, names=names, told=request.args.get("told"))


@customer.get("/app/reviews/<review_id>")
@for_roles()
def review(review_id: str) -> Response:
    """The form to change one."""
    return review_form(own_review(review_id))


@customer.post("/app/reviews/<review_id>")
@for_roles()
def edit_review(review_id: str) -> Response:
    """Change it, unless it has changed elsewhere meanwhile."""
    wanted = written()
    if wanted.errors:
        return review_form(own_review(review_id), wanted, status=422, etag=etag())
    try:
        found = backend().send("PATCH", _path(review_id), body=wanted.body(), key=idempotency_key(), etag=etag())
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        kept = None if problem.status == 412 else etag()
        return review_form(
            own_review(review_id), wanted.told(problem), status=problem.status, problem=problem, etag=kept
        )
    return _to_gym(found.json["branch_id"], "edited")


@customer.post("/app/reviews/<review_id>/delete")
@for_roles()
def delete_review(review_id: str) -> Response:
    """Take it back."""
    try:
        backend().send("DELETE", _path(review_id), key=idempotency_key(), etag=etag() or None)
    except Problem as problem:
        if problem.status != 412:
            raise
        return review_form(own_review(review_id), status=412, problem=problem)
    return make_response(redirect(url_for("customer.reviews", told="deleted"), 303))


@customer.post("/app/reviews/<review_id>/report")
@for_roles()
def report_review(review_id: str) -> Response:
    """Complain about somebody's review."""
    reason, text = typed("reason"), typed("text", 500)
    if reason not in GYMS["report_reason"]:
        raise Problem(422, "no_reason", "신고하는 이유를 고르세요.", "Choose why you report it.")
    answer = backend().send(
        "POST", f"{_path(review_id)}/reports", body={"reason": reason, "text": text or None}, key=idempotency_key()
    )
    branch_id = backend().get(_path(answer.json["review_id"]))["branch_id"]
    return _to_gym(branch_id, "reported")


def _path(review_id: str) -> str:
    return f"/search/v1/reviews/{quote(review_id, safe='')}"


def own_review(review_id: str) -> Answer:
    """One's own review, with its ETag. Raises Problem 404 for anybody else's."""
    found = backend().send("GET", _path(review_id))
    if not found.json["mine"]:
        raise Problem(404, "review_unknown", "내 후기가 아닙니다.", "That is no review of yours.")
    return found


def review_form(
    found: Answer, wanted: Written | None = None, *, status: int = 200, problem: Problem | None = None,
    etag: str | None = None,
) -> Response:  # fmt: skip
    """The form to change one, with what was typed; `etag`: of the state that was typed upon, the present one where left out."""
    review = found.json
    name = names_of([review["branch_id"]])[review["branch_id"]]
    return show(
        "customer/review.html", status, review=review, name=name, problem=problem, etag=etag or found.etag or "",
        wanted=wanted or Written(str(review["rating"]), review["text"]),
        changed=problem is not None and problem.status in (409, 412),
    )  # fmt: skip


def _to_gym(branch_id: str, told: str) -> Response:
    return make_response(redirect(url_for("customer.gym", branch_id=branch_id, told=told, _anchor="reviews"), 303))
