"""Trainings: started by hand or by enough corrections, watched, stopped; Dagster shows how they run."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import operations
from platform_api.web.operations.asking import answers, back, get, part
from platform_api.web.operations.routes_models import model_page
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed
from platform_api.web.signin import DAGSTER

LINES = 100
RUNNING = ("queued", "running", "cancelling")


@operations.post("/app/ops/models/<model>/trainings")
@for_roles("operator")
def start_training(model: str) -> Response:
    """Train on a data set, or on one that is collected now."""
    said = {"dataset_id": typed("dataset_id", 64) or None}
    try:
        asked = backend().send("POST", f"/mlops/v1/models/{model}/trainings", body=said, key=idempotency_key()).json
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return model_page(model, problem)
    return back(url_for("operations.training", training_id=asked["training_id"]))


@operations.get("/app/ops/models/trainings/<training_id>")
@for_roles("operator")
def training(training_id: str) -> Response:
    """How far it is, and its log."""
    return show("operations/training.html", dagster=DAGSTER, **_training(training_id))


@operations.get("/app/ops/models/trainings/<training_id>/now")
@for_roles("operator")
def training_now(training_id: str) -> Response:
    """The part of it that is asked for again and again."""
    return part("operations/training_now.html", **_training(training_id))


@operations.post("/app/ops/models/trainings/<training_id>/cancel")
@for_roles("operator")
def cancel_training(training_id: str) -> Response:
    """Stop it."""
    backend().send("POST", f"/mlops/v1/trainings/{training_id}/cancel", key=idempotency_key())
    return back(url_for("operations.training", training_id=training_id))


def _training(training_id: str) -> dict[str, Any]:
    path = f"/mlops/v1/trainings/{training_id}"
    found, away = answers({
        "training": get(path),
        "log": get(f"{path}/log", limit=LINES, cursor=request.args.get("cursor")),
    })  # fmt: skip
    if "training" in away:
        raise away["training"]
    log = found.get("log", {"items": [], "next_cursor": None})
    told = found["training"]
    return {"training": told, "running": told["state"] in RUNNING, "log": log["items"], "cursor": log["next_cursor"]}
