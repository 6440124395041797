"""Faults as they come, who has seen them, how far they have escalated, and what could not be told to anybody."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.operations import operations
from platform_api.web.operations.asking import answers, back, every, get, part
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

OPEN, PAST, LINES, WIDE = 100, 30, 20, 200


@operations.get("/app/ops/faults")
@for_roles("operator")
def faults() -> Response:
    """Those that last, the newest first, and deliveries that were given up."""
    found, away = answers({
        "now": _open,
        "deliveries": get(
            "/notification/v1/deliveries", state="failed", limit=LINES, cursor=request.args.get("cursor")
        ),
    })  # fmt: skip
    if "now" in away:
        raise away["now"]
    return show(
        "operations/faults.html", deliveries=found.get("deliveries"), told=request.args.get("told"), **found["now"]
    )


@operations.get("/app/ops/faults/now")
@for_roles("operator")
def faults_now() -> Response:
    """The part of it that is asked for again and again."""
    return part("operations/faults_now.html", **_open())


@operations.get("/app/ops/faults/past")
@for_roles("operator")
def past_faults() -> Response:
    """Those that are over."""
    found, away = answers({
        "faults": get("/monitoring/v1/faults", open="false", limit=PAST, cursor=request.args.get("cursor")),
        "branches": every("/monitoring/v1/overview"),
    })  # fmt: skip
    if "faults" in away:
        raise away["faults"]
    page = found["faults"]
    shown = [{**fault, **_whose(fault, {}, _names(found))} for fault in page["items"]]
    return show("operations/faults_past.html", faults=_named(shown), cursor=page["next_cursor"])


@operations.get("/app/ops/faults/<fault_id>")
@for_roles("operator")
def fault(fault_id: str) -> Response:
    """One fault: why, since when, who knows, what the item did before."""
    return _fault(fault_id)


@operations.post("/app/ops/faults/<fault_id>/acknowledge")
@for_roles("operator")
def acknowledge(fault_id: str) -> Response:
    """Say that somebody takes care of it."""
    said = {"note": typed("note", 500) or None}
    try:
        backend().send("POST", f"/monitoring/v1/faults/{fault_id}/acknowledge", body=said, key=idempotency_key())
    except Problem as problem:
        if problem.status in (401, 404):
            raise
        return _fault(fault_id, problem, typed("note", 500))
    if typed("from", 10) == "fault":
        return back(url_for("operations.fault", fault_id=fault_id, told="acknowledged"))
    return back(url_for("operations.faults", told="acknowledged"))


@operations.post("/app/ops/deliveries/<delivery_id>/retry")
@for_roles("operator")
def retry_delivery(delivery_id: str) -> Response:
    """Send once more what was given up."""
    backend().send("POST", f"/notification/v1/deliveries/{delivery_id}/retry", key=idempotency_key())
    return back(url_for("operations.faults", told="retried"))


def _open() -> dict[str, Any]:
    found, away = answers({
        "faults": get("/monitoring/v1/faults", open="true", limit=OPEN),
        "alerts": get("/notification/v1/alerts", limit=2 * OPEN),
        "branches": every("/monitoring/v1/overview"),
    })  # fmt: skip
    if "faults" in away:
        raise away["faults"]
    alerts = {alert["fault_id"]: alert for alert in found.get("alerts", {"items": []})["items"]}
    shown = [{**each, **_whose(each, alerts, _names(found))} for each in found["faults"]["items"]]
    unseen = sum(each["acknowledged_at"] is None for each in shown)
    more = found["faults"]["next_cursor"] is not None
    return {"faults": _named(shown), "unseen": unseen, "more_open": more, "away": away}


def _names(found: dict[str, Any]) -> dict[str, str]:
    return {row["branch_id"]: row["name"] for row in found.get("branches", [])}


def _whose(fault: dict[str, Any], alerts: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    alert = alerts.get(fault["fault_id"])
    told = {"level": alert["level"], "next_at": alert["next_at"], "told": len(alert["told"])} if alert else None
    name = alert["name"] if alert else None
    return {"branch": names.get(fault["branch_id"], fault["branch_id"]), "alert": told, "item": name}


def _named(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the names of items of which no alert has told yet."""
    missing = sorted({each["equipment_id"] for each in shown if each["item"] is None})
    if missing:
        questions = {each: get(f"/monitoring/v1/equipment/{each}") for each in missing}
        try:
            found, _ = answers(questions)
        except Problem as problem:
            if problem.status == 401:
                raise
            found = {}
        for each in shown:
            if each["item"] is None:
                each["item"] = found[each["equipment_id"]]["name"] if each["equipment_id"] in found else "–"
    return shown


def _fault(fault_id: str, problem: Problem | None = None, note: str = "") -> Response:
    found = backend().get(f"/monitoring/v1/faults/{fault_id}")
    path = f"/monitoring/v1/equipment/{found['equipment_id']}"
    more, away = answers({
        "item": get(path),
        "history": get(f"{path}/history", limit=LINES),
        "alerts": get("/notification/v1/alerts", branch_id=found["branch_id"], limit=WIDE),
        "models": get("/monitoring/v1/model-changes", limit=5),
        "branches": every("/monitoring/v1/overview", branch_id=found["branch_id"]),
    })  # fmt: skip
    alert = next((a for a in more.get("alerts", {"items": []})["items"] if a["fault_id"] == fault_id), None)
    return show(
        "operations/fault.html", problem.status if problem else 200, fault=found, item=more.get("item"), away=away,
        history=more.get("history", {"items": []})["items"], alert=alert, problem=problem, note=note,
        models=more.get("models", {"items": []})["items"], told=request.args.get("told"),
        branch=_names(more).get(found["branch_id"], found["branch_id"]),
    )  # fmt: skip
