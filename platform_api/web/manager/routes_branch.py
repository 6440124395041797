"""A branch at a glance, and its modes: normal, lockdown, emergency open."""

from __future__ import annotations

from datetime import UTC, datetime, time
from functools import partial
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, got, of, page
from platform_api.web.pages import backend, for_roles, idempotency_key, typed

COUNTED = 200
"""Of one answer: more entries than these are shown as that many and more."""


@manager.get("/app/manage/branch")
@for_roles(*STAFF)
def branch() -> Response:
    """The branch now."""
    here = chosen()
    return page("branch.html", here, told=request.args.get("told"), **_now(here))


@manager.get("/app/manage/branch/now")
@for_roles(*STAFF)
def branch_now() -> Response:
    """The part of the page that is asked for anew every few seconds."""
    here = chosen()
    return page("branch_now.html", here, **_now(here))


@manager.post("/app/manage/branches/<branch_id>/mode")
@for_roles(*STAFF)
def set_mode(branch_id: str) -> Response:
    """Open in an emergency, lock down, or return to normal."""
    here, mode, reason = of(branch_id), typed("mode", 20), typed("reason", 500)
    try:
        if not reason:
            raise Problem(422, "reason_required", "사유를 적으세요.", "Say why.")
        body = {"mode": mode, "reason": reason}
        backend().send("POST", f"/access/v1/branches/{branch_id}/mode", body=body, key=idempotency_key())
    except Problem as problem:
        kept = {"mode": mode, "reason": reason}
        return page("branch.html", here, problem.status, problem=problem, kept=kept, **_now(here))
    return make_response(redirect(url_for("manager.branch", branch=branch_id, told=mode), 303))


def _now(here: Branch) -> dict[str, Any]:
    """What the page shows; what could not be had is a Problem."""
    get, branch_id = backend().get, here.branch_id
    midnight = datetime.combine(datetime.now(here.timezone).date(), time(), here.timezone).astimezone(UTC)
    entries = partial(get, "/access/v1/entries", branch_id=branch_id, limit=COUNTED, **{"from": midnight.isoformat()})
    names = ("gates", "occupancy", "fleet", "tasks", "granted", "denied", "strangers", "rating")
    answers = backend().together(
        partial(get, f"/access/v1/branches/{branch_id}"),
        partial(get, f"/access/v1/branches/{branch_id}/occupancy"),
        partial(get, "/monitoring/v1/overview", branch_id=branch_id),
        partial(get, "/branch/v1/tasks", branch_id=branch_id, limit=50),
        partial(entries, outcome="granted"),
        partial(entries, outcome="denied"),
        partial(get, "/access/v1/strangers", branch_id=branch_id, undecided="true", limit=50),
        partial(get, f"/branch/v1/branches/{branch_id}/reviews/summary"),
    )
    found: dict[str, Any] = dict(zip(names, answers, strict=True))
    for name in ("tasks", "granted", "denied", "strangers"):
        if got(found[name]):
            found[name] = f"{len(found[name]['items'])}{'+' if found[name]['next_cursor'] else ''}"
    if got(found["fleet"]):
        found["fleet"] = next(iter(found["fleet"]["items"]), None)
    return found
