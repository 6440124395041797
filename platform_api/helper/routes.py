"""HTTP of the helper domain: tasks here; money in a module of its own."""

from typing import Any

from flask import Flask, Response

from platform_api.core.openapi import BINARY
from platform_api.core.schemas import IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import in_memory_upload, small_body, uploaded
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.helper import branches, limits, objects, personal, routes_money, schemas, tasks, withdrawals
from platform_api.helper.models import Task
from platform_api.helper.settings import settings
from platform_api.helper.uploads import few_at_once, form

blp = blueprint("helper", "/helper/v1", "Helpers: work handed in with photographs")
blueprints = [blp, personal.blp, *routes_money.blueprints]
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, objects.store, withdrawals.envelope):
        cached.cache_clear()
    few_at_once.reset()
    settings()
    objects.store()
    withdrawals.envelope()


@blp.post("/tasks")
@require("helper")
@few_at_once
@in_memory_upload(lambda: settings().helper_request_max_bytes)
@transaction("helper", idempotent=True)
@blp.response(201, schemas.TaskSchema)
@blp.doc(requestBody={"required": True, "content": {"multipart/form-data": {"schema": schemas.PHOTOS}}})
def submit() -> Task:
    """Hand in work: fields branch_id, kind, note, redo_of and one to five parts `photos`."""
    return tasks.submit(current_session(), principal(), form(schemas.NewTask()), uploaded("photos"))


@blp.get("/tasks")
@require("helper", "operator")
@transaction("helper")
@blp.arguments(schemas.TaskQuery, location="query")
@blp.response(200, schemas.TaskPage)
def list_tasks(query: dict[str, Any]) -> dict[str, Any]:
    """Tasks, newest first: your own; all for operators."""
    items, cursor = tasks.listed(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/tasks/<task_id>")
@require("helper", "operator")
@transaction("helper")
@blp.response(200, schemas.TaskSchema)
def get_task(task_id: str) -> Any:
    """One task, with its ETag."""
    task = tasks.get(current_session(), principal(), task_id)
    return tagged(task, task.version)


@blp.get("/tasks/<task_id>/photos/<photo_id>")
@require("helper", "operator")
@transaction("helper")
@blp.response(200, BINARY, content_type="image/jpeg")
@blp.alt_response(410, "GONE")
def photo(task_id: str, photo_id: str) -> Response:
    """A photo of a task."""
    jpeg = tasks.picture(current_session(), principal(), task_id, photo_id)
    headers = {"Cache-Control": "no-store", "Content-Disposition": "inline", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, 200, headers, content_type="image/jpeg")


@blp.get("/limits")
@require("helper")
@transaction("helper")
@blp.arguments(schemas.AllowanceQuery, location="query")
@blp.response(200, schemas.AllowancesSchema)
def allowances(query: dict[str, Any]) -> dict[str, Any]:
    """How many tasks you may still hand in at a branch today."""
    session = current_session()
    return {"items": limits.allowances(session, branches.get(session, query["branch_id"]), principal().id)}


@blp.get("/branches/<branch_id>/limits")
@require("operator")
@transaction("helper")
@blp.response(200, schemas.LimitsSchema)
def get_limits(branch_id: str) -> Any:
    """A branch's own daily limits, with their ETag."""
    branch = branches.get(current_session(), branch_id)
    return tagged(branch, branch.limits_version)


@blp.put("/branches/<branch_id>/limits")
@require("operator")
@transaction("helper", idempotent=True)
@blp.arguments(schemas.LimitsChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.LimitsSchema)
def set_limits(wanted: dict[str, Any], headers: dict[str, Any], branch_id: str) -> Any:
    """Set a branch's own daily limits; null: the chain's."""
    per_helper, in_all = wanted["helper_daily_limit"], wanted["branch_daily_limit"]
    branch = branches.set_limits(current_session(), principal(), branch_id, per_helper, in_all, headers["if_match"])
    return tagged(branch, branch.limits_version)
