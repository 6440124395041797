"""Handing work in: the camera, the branch, the photos on their way."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, jsonify, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.core.turnstile import Turnstile
from platform_api.core.uploads import in_memory_upload, uploaded
from platform_api.web.helper import helper
from platform_api.web.helper.places import Terms, terms
from platform_api.web.languages import say
from platform_api.web.pages import backend, field_errors, for_roles, idempotency_key, show, typed

BRANCHES_A_PAGE = 20
UPLOADS_AT_ONCE = 8

few_at_once = Turnstile(
    lambda: UPLOADS_AT_ONCE,
    "지금 사진이 몰려 있습니다. 잠시 후 다시 보내세요.",
    "Many photos are coming in just now; send yours again in a moment.",
    patience_s=5.0,
)


@helper.get("/app/work")
@for_roles("helper")
def new() -> Response:
    """The camera, set to the branch and the kind of work of last time."""
    redo_of = request.args.get("redo_of")
    former: dict[str, Any] | None = backend().get(f"/helper/v1/tasks/{redo_of}") if redo_of else _last()
    if redo_of and former and former["state"] != "redo":
        return make_response(redirect(url_for("helper.task", task_id=redo_of), 303))
    branch_id = (None if redo_of else request.args.get("branch")) or (former or {}).get("branch_id")
    if not branch_id:
        return make_response(redirect(url_for("helper.choose_branch", first="1"), 303))
    kind = request.args.get("kind") or (former or {}).get("kind")
    return _page(terms(backend(), branch_id), {"kind": kind, "redo_of": redo_of or ""}, former if redo_of else None)


@helper.post("/app/work")
@few_at_once
@in_memory_upload(lambda: current_app.config["MAX_CONTENT_LENGTH"])
@for_roles("helper")
def hand_in() -> Response:
    """Hand in a task; told to a script that sends it by itself, or to somebody who sent the form."""
    wanted = {"branch_id": typed("branch_id"), "kind": typed("kind")}
    wanted |= {name: said for name in ("note", "redo_of") if (said := typed(name))}
    photos = [
        ("photos", (f"{number}.jpg", photo, "image/jpeg")) for number, photo in enumerate(uploaded("photos")) if photo
    ]
    try:
        # The part without a file: that it is a form, when there is no photo at all.
        files = photos or [("nothing", ("", b"", "application/octet-stream"))]
        task = backend().send("POST", "/helper/v1/tasks", fields=wanted, files=files, key=idempotency_key()).json
    except Problem as problem:
        if problem.status == 401:
            raise
        if request.headers.get("HX-Request"):
            return _refused(problem)
        return _page(terms(backend(), wanted["branch_id"]), wanted, None, problem)
    place = url_for("helper.task", task_id=task["task_id"])
    if request.headers.get("HX-Request"):
        return make_response(jsonify(task_id=task["task_id"], url=place), 201)
    return make_response(redirect(place, 303))


@helper.get("/app/work/branches")
@for_roles("helper")
def choose_branch() -> Response:
    """Where the work is done: the branches by name, or as they are asked for."""
    q, cursor = request.args.get("q", "").strip()[:200], request.args.get("cursor")
    if q:
        found = backend().get("/search/v1/branches", q=q, cursor=cursor, limit=BRANCHES_A_PAGE)
    else:
        found = backend().get("/branch/v1/branches", status="open", cursor=cursor, limit=BRANCHES_A_PAGE)
    items = found["items"]
    return show("helper/branches.html", branches=items, cursor=found["next_cursor"], q=q)


def _last() -> dict[str, Any] | None:
    """The task handed in last: most go on where they were."""
    items = backend().get("/helper/v1/tasks", limit=1)["items"]
    return items[0] if items else None


def _page(
    place: Terms, wanted: dict[str, Any], former: dict[str, Any] | None, problem: Problem | None = None
) -> Response:
    errors = field_errors(problem) if problem else {}
    return show(
        "helper/work.html", problem.status if problem else 200,
        terms=place, wanted=wanted, former=former, problem=problem, errors=errors, refused=_refused_photos(problem),
    )  # fmt: skip


def _refused(problem: Problem) -> Response:
    """What is wrong, for the script that sent it: it has kept the photos, and marks those that are meant."""
    answer = show("helper/_refused.html", problem.status, problem=problem, refused=_refused_photos(problem))
    answer.headers.update(problem.headers)
    answer.headers["X-Problem"] = problem.code
    return answer


def _refused_photos(problem: Problem | None) -> list[tuple[int, str]]:
    """Which photos are refused, from 0, and why."""
    told = problem.extra.get("photos", []) if problem else []
    return [(item["index"], say(item["message"], item["message_en"])) for item in told]
