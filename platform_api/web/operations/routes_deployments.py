"""One deployment: its trials with their figures as they come, and what may be done about it."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import operations
from platform_api.web.operations.asking import back, part
from platform_api.web.operations.routes_models import UNDER_WAY
from platform_api.web.pages import backend, for_roles, idempotency_key, show


@operations.get("/app/ops/models/deployments/<deployment_id>")
@for_roles("operator")
def deployment(deployment_id: str) -> Response:
    """How far it is."""
    return _shown(deployment_id)


@operations.get("/app/ops/models/deployments/<deployment_id>/now")
@for_roles("operator")
def deployment_now(deployment_id: str) -> Response:
    """The part of the page that is asked for again and again."""
    return part("operations/deployment_now.html", **_story(deployment_id))


@operations.post("/app/ops/models/deployments/<deployment_id>/promote")
@for_roles("operator")
def promote(deployment_id: str) -> Response:
    """Send it on to what comes next, without waiting for samples."""
    return _done(deployment_id, "promote")


@operations.post("/app/ops/models/deployments/<deployment_id>/cancel")
@for_roles("operator")
def cancel(deployment_id: str) -> Response:
    """Take it back."""
    return _done(deployment_id, "cancel")


def _done(deployment_id: str, act: str) -> Response:
    try:
        backend().send("POST", f"/mlops/v1/deployments/{deployment_id}/{act}", key=idempotency_key())
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return _shown(deployment_id, problem)
    return back(url_for("operations.deployment", deployment_id=deployment_id))


def _shown(deployment_id: str, problem: Problem | None = None) -> Response:
    status = problem.status if problem else 200
    return show("operations/deployment.html", status, problem=problem, **_story(deployment_id))


def _story(deployment_id: str) -> dict[str, Any]:
    found = backend().get(f"/mlops/v1/deployments/{deployment_id}")
    return {"deployment": found, "under_way": found["state"] in UNDER_WAY}
