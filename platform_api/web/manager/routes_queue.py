"""The queue of judged tasks: one at a time, decided by one key; and what was decided."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, of, page
from platform_api.web.pages import backend, for_roles, idempotency_key, typed

SEEN = 100
"""Tasks that are counted and can be stepped through; a longer queue is shown as that many and more."""
PAGE = 20


@manager.get("/app/manage/queue")
@for_roles(*STAFF)
def queue() -> Response:
    """The most urgent task of the branch, or the one that is asked for."""
    branch = chosen()
    return page("queue.html", branch, told=request.args.get("told"), **_shown(branch, request.args.get("task")))


@manager.post("/app/manage/tasks/<task_id>/decision")
@for_roles(*STAFF)
def decide(task_id: str) -> Response:
    """Confirm, correct or send back; on to the next task."""
    branch = of(typed("branch", 64))
    said = _said()
    try:
        answer = backend().send(
            "POST", f"/branch/v1/tasks/{task_id}/decision", body=said, key=idempotency_key(), etag=typed("etag", 80)
        )
    except Problem as problem:
        if problem.code == "decided_already":
            return _on(branch, "decided_already", typed("next", 64))
        if problem.status == 412:
            return _on(branch, "changed", task_id)
        if problem.status != 422:
            raise
        kept = {"decision": said["decision"], "label": said.get("label"), "reason": said.get("reason") or ""}
        shown = _shown(branch, task_id)
        status = problem.status if not _partly() else 200
        return page(_template(), branch, status, told=None, problem=problem, kept=kept, partly=_partly(), **shown)
    state = answer.json["state"]
    outcome = f"{state}_{answer.json['label']}" if state in ("corrected", "confirmed") else state
    return _on(branch, outcome, typed("next", 64))


@manager.get("/app/manage/tasks/<task_id>")
@for_roles(*STAFF)
def task(task_id: str) -> Response:
    """One task with its photos, decided or not."""
    found = backend().get(f"/branch/v1/tasks/{task_id}")
    return page("task.html", of(found["branch_id"]), task=found)


@manager.get("/app/manage/tasks/<task_id>/photos/<photo_id>")
@for_roles(*STAFF)
def task_photo(task_id: str, photo_id: str) -> Response:
    """A photo of the work."""
    return backend().passed_on(f"/branch/v1/tasks/{task_id}/photos/{photo_id}")


@manager.get("/app/manage/decisions")
@for_roles(*STAFF)
def decisions() -> Response:
    """What was decided, the newest tasks first."""
    branch = chosen()
    if branch.profile is None:
        return page("decisions.html", branch, decisions=[], cursor=None)
    found = backend().get(
        "/branch/v1/decisions", branch_id=branch.branch_id, cursor=request.args.get("cursor"), limit=PAGE
    )
    return page("decisions.html", branch, decisions=found["items"], cursor=found["next_cursor"])


def _shown(branch: Branch, wanted: str | None) -> dict[str, Any]:
    """The task to look at with its ETag, the one after it, and how many wait."""
    if branch.profile is None:
        return _none()
    waiting = backend().get("/branch/v1/tasks", branch_id=branch.branch_id, limit=SEEN)
    items = waiting["items"]
    ids = [item["task_id"] for item in items]
    at = ids.index(wanted) if wanted in ids else 0
    more = waiting["next_cursor"] is not None
    if not items:
        return _none()
    following = ids[(at + 1) % len(ids)] if len(ids) > 1 else None
    answer = backend().send("GET", f"/branch/v1/tasks/{ids[at]}")
    task = answer.json
    if task["state"] != "waiting":
        # Decided by somebody else just now.
        return _shown(branch, following) if following else _none()
    return {"task": task, "etag": answer.etag, "following": following, "count": len(items), "more": more}


def _none() -> dict[str, Any]:
    return {"task": None, "etag": None, "following": None, "count": 0, "more": False}


def _said() -> dict[str, Any]:
    decision = typed("decision", 10)
    if decision == "confirm":
        return {"decision": "confirm"}
    said: dict[str, Any] = {"decision": decision, "reason": typed("preset", 500) or typed("reason", 500) or None}
    if decision == "correct":
        said["label"] = typed("label", 10) or None
        labels = {name.removeprefix("photo-"): value for name, value in request.form.items() if name[:6] == "photo-"}
        said["photo_labels"] = [{"photo_id": name, "label": value} for name, value in labels.items() if value]
    return said


def _on(branch: Branch, told: str, next_id: str | None) -> Response:
    if _partly():
        return page("queue_task.html", branch, told=told, partly=True, **_shown(branch, next_id))
    target = url_for("manager.queue", branch=branch.branch_id, told=told, task=next_id or None)
    return make_response(redirect(target, 303))


def _partly() -> bool:
    return bool(request.headers.get("HX-Request"))


def _template() -> str:
    return "queue_task.html" if _partly() else "queue.html"
