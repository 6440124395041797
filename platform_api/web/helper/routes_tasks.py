"""Tasks that were handed in: their list, and each with its verdict as it arrives."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

from platform_api.core.errors import Problem
from platform_api.web import live
from platform_api.web.helper import helper
from platform_api.web.helper.places import branch_names
from platform_api.web.pages import backend, for_roles, me, show
from platform_api.web.signin import person
from platform_api.web.words_work import WORK

TASKS_A_PAGE = 20
DECIDED = ("confirmed", "corrected", "redo")


@helper.get("/app/work/tasks")
@for_roles("helper")
def tasks() -> Response:
    """Your tasks, newest first; of one state, where one is chosen."""
    state = request.args.get("state")
    state = state if state in WORK["task_state"] else None
    found = backend().get("/helper/v1/tasks", state=state, cursor=request.args.get("cursor"), limit=TASKS_A_PAGE)
    names = branch_names(backend(), [task["branch_id"] for task in found["items"]])
    return show(
        "helper/tasks.html", tasks=found["items"], cursor=found["next_cursor"], names=names, state=state,
        states=list(WORK["task_state"]),
    )  # fmt: skip


@helper.get("/app/work/tasks/<task_id>")
@for_roles("helper")
def task(task_id: str) -> Response:
    """A task, and what has become of it so far."""
    found = _task(task_id)
    return show("helper/task.html", **found, shown=_shown(found))


@helper.get("/app/live/tasks/<task_id>")
def live_task(task_id: str) -> Response:
    """What becomes of a task, as it happens."""
    found = person()
    if found is None:
        return live.only(render_template("helper/_ended.html", task_id=task_id))
    return live.stream(found.member_id, lambda: _shown(_task(task_id)))


@helper.get("/app/work/tasks/<task_id>/photos/<photo_id>")
@for_roles("helper")
def photo(task_id: str, photo_id: str) -> Response:
    """A photo of a task."""
    return backend().passed_on(f"/helper/v1/tasks/{task_id}/photos/{photo_id}")


def _task(task_id: str) -> dict[str, Any]:
    """The task and what the page needs beside it. Raises Problem 404 where it is not theirs."""
    found = backend().get(f"/helper/v1/tasks/{task_id}")
    return {
        "task": found,
        "branch": branch_names(backend(), [found["branch_id"]])[found["branch_id"]],
        "redone": _redone(task_id) if found["state"] == "redo" else None,
    }


def _redone(task_id: str) -> str | None:
    """The task by which one that was sent back has been done again, if it is among the latest."""
    try:
        latest = backend().get("/helper/v1/tasks", limit=100)["items"]
    except Problem:
        return None
    return next((task["task_id"] for task in latest if task["redo_of"] == task_id), None)


def _shown(found: dict[str, Any]) -> live.Shown:
    # An expired task may still be decided, by a decision that was under way.
    last = found["task"]["state"] in (*DECIDED, "expired")
    return live.Shown(render_template("helper/_verdict.html", **found, me=me()), last)
