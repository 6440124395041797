"""Models: what serves and how well, versions, the way back, what people corrected until the next training."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import figures, operations
from platform_api.web.operations.asking import answers, back, get
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed
from platform_api.web.signin import DAGSTER

PAGE, WEEKS = 20, 4
UNDER_WAY = ("requested", "preparing", "shadow", "canary")
STAGES: dict[str, list[str] | None] = {
    "usual": None,
    "both": ["shadow", "canary"],
    "shadow": ["shadow"],
    "canary": ["canary"],
    "none": [],
}
"""Trials before a version serves, by what the form calls them; None: those of the installation."""


@operations.get("/app/ops/models")
@for_roles("operator")
def models() -> Response:
    """Every model of the platform."""
    items = backend().get("/mlops/v1/models")["items"]
    questions = {}
    for item in items:
        path = f"/mlops/v1/models/{item['model']}"
        questions[f"deployments {item['model']}"] = get(f"{path}/deployments", limit=5)
        questions[f"corrections {item['model']}"] = get(f"{path}/corrections")
        if item["live_version"]:
            questions[f"version {item['model']}"] = get(f"{path}/versions/{item['live_version']}")
    found, _ = answers(questions) if questions else ({}, {})
    for item in items:
        name = item["model"]
        item["corrections"] = found.get(f"corrections {name}")
        item["under_way"] = _under_way(found.get(f"deployments {name}", {"items": []})["items"])
        item["version"] = found.get(f"version {name}")
    return show("operations/models.html", models=items, figures=figures.FIGURES, shown=figures.shown, dagster=DAGSTER)


@operations.get("/app/ops/models/<model>")
@for_roles("operator")
def model(model: str) -> Response:
    """One model: versions, deployments, how people agree with it, trainings."""
    return model_page(model)


@operations.get("/app/ops/models/<model>/versions/<version>")
@for_roles("operator")
def version(model: str, version: str) -> Response:
    """One version with all its figures; from here it is deployed."""
    return _version(model, version)


@operations.post("/app/ops/models/<model>/versions/<version>/deploy")
@for_roles("operator")
def deploy(model: str, version: str) -> Response:
    """Let a version serve, after its trials."""
    reason, stages = typed("reason", 500), STAGES.get(typed("stages", 10))
    said: dict[str, Any] = {"version": version, "stages": stages} | ({"reason": reason} if reason else {})
    try:
        asked = backend().send("POST", f"/mlops/v1/models/{model}/deployments", body=said, key=idempotency_key()).json
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return _version(model, version, problem)
    return back(url_for("operations.deployment", deployment_id=asked["deployment_id"]))


@operations.post("/app/ops/models/<model>/rollback")
@for_roles("operator")
def roll_back(model: str) -> Response:
    """Withdraw what is on its way, or let the version before serve again."""
    try:
        said = {"reason": _reason()}
        asked = backend().send("POST", f"/mlops/v1/models/{model}/rollback", body=said, key=idempotency_key()).json
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return model_page(model, problem)
    return back(url_for("operations.deployment", deployment_id=asked["deployment_id"]))


def _reason() -> str:
    reason = typed("reason", 500)
    if not reason:
        raise Problem(
            422, "reason_required", "되돌리는 까닭을 적으세요. 다른 운영자가 보게 됩니다.",
            "Say why you roll back; other operators will read it.",
        )  # fmt: skip
    return reason


def _under_way(deployments: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((each for each in deployments if each["state"] in UNDER_WAY), None)


def model_page(name: str, problem: Problem | None = None) -> Response:
    path = f"/mlops/v1/models/{name}"
    days = [7 * (number + 1) for number in range(WEEKS)]
    found, away = answers({
        "model": get(path),
        "versions": get(f"{path}/versions", limit=PAGE, cursor=request.args.get("cursor")),
        "deployments": get(f"{path}/deployments", limit=PAGE),
        "corrections": get(f"{path}/corrections"),
        "trainings": get("/mlops/v1/trainings", model=name, limit=PAGE),
        "datasets": get(f"{path}/datasets", limit=PAGE),
        **{f"days {number}": get(f"{path}/performance", days=number) for number in days},
    })  # fmt: skip
    for needed in ("model", "versions", "deployments"):
        if needed in away:
            raise away[needed]
    versions, deployments = found["versions"]["items"], found["deployments"]["items"]
    sums = [found[f"days {number}"]["items"] for number in days if f"days {number}" in found]
    under_way, live = _under_way(deployments), found["model"]["live_version"]
    # A model that nobody judges has neither corrections nor agreement.
    away = {part: problem for part, problem in away.items() if problem.status != 404 and not part.startswith("days")}
    return show(
        "operations/model.html", problem.status if problem else 200, model=name, live=live, versions=versions,
        cursor=found["versions"]["next_cursor"], deployments=deployments, counter=found.get("corrections"),
        trainings=found.get("trainings", {"items": []})["items"], datasets=found.get("datasets", {"items": []})["items"],
        marks=figures.marks(name, versions), figures=figures.FIGURES.get(name, ()), shown=figures.shown,
        performance=sums[-1] if sums else [], weeks=figures.weeks(sums) if len(sums) == WEEKS else [],
        under_way=under_way, before=found["model"]["former_version"], away=away,
        problem=problem, reason=typed("reason", 500), dagster=DAGSTER,
    )  # fmt: skip


def _version(name: str, version: str, problem: Problem | None = None) -> Response:
    path = f"/mlops/v1/models/{name}"
    found, away = answers({
        "version": get(f"{path}/versions/{version}"),
        "model": get(path),
        "deployments": get(f"{path}/deployments", limit=PAGE),
    })  # fmt: skip
    for problem_of in away.values():
        raise problem_of
    return show(
        "operations/version.html", problem.status if problem else 200, model=name, version=found["version"],
        live=found["model"]["live_version"], under_way=_under_way(found["deployments"]["items"]),
        figures=figures.FIGURES.get(name, ()), shown=figures.shown, problem=problem, reason=typed("reason", 500),
        stages=typed("stages", 10) or "usual", choices=list(STAGES), dagster=DAGSTER,
    )  # fmt: skip
