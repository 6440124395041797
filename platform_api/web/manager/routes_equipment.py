"""Equipment of a branch: states at a glance, faults to be seen to, times of maintenance."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, of, page
from platform_api.web.pages import backend, for_roles, idempotency_key, typed

PAGE = 50
LINES = 20
URGENT = ("fault", "suspect", "maintenance", "recovered", "ok")


@manager.get("/app/manage/equipment")
@for_roles(*STAFF)
def equipment() -> Response:
    """Every item with its state."""
    here = chosen()
    return page("equipment.html", here, told=request.args.get("told"), **_now(here))


@manager.get("/app/manage/equipment/now")
@for_roles(*STAFF)
def equipment_now() -> Response:
    """The part of the page that is asked for anew every few seconds."""
    here = chosen()
    return page("equipment_now.html", here, **_now(here))


@manager.get("/app/manage/equipment/<equipment_id>")
@for_roles(*STAFF)
def item(equipment_id: str) -> Response:
    """One item: why it is not well, its faults, its maintenance, its history."""
    return _item(equipment_id, told=request.args.get("told"))


@manager.post("/app/manage/faults/<fault_id>/acknowledge")
@for_roles(*STAFF)
def acknowledge(fault_id: str) -> Response:
    """Say that somebody takes care of a fault."""
    said = {"note": typed("note", 500) or None}
    fault = backend().send("POST", f"/monitoring/v1/faults/{fault_id}/acknowledge", body=said, key=idempotency_key())
    return _back(fault.json, "acknowledged")


@manager.post("/app/manage/maintenance")
@for_roles(*STAFF)
def plan() -> Response:
    """Plan a time in which an item, or the whole branch, raises no alert."""
    here, equipment_id = of(typed("branch", 64)), typed("equipment", 64)
    try:
        ends = _moment(here, "ends_at")
        if ends is None:
            raise Problem(422, "end_missing", "끝나는 시각을 고르세요.", "Choose when it ends.")
        said = {
            "starts_at": _moment(here, "starts_at"), "ends_at": ends, "reason": typed("reason", 500),
            **({"equipment_id": equipment_id} if equipment_id else {"branch_id": here.branch_id}),
        }  # fmt: skip
        if not said["reason"]:
            raise Problem(422, "reason_required", "사유를 적으세요.", "Say why.")
        backend().send("POST", "/monitoring/v1/maintenance-windows", body=said, key=idempotency_key())
    except Problem as problem:
        kept = {name: typed(name, 500) for name in ("starts_at", "ends_at", "reason")}
        if equipment_id:
            return _item(equipment_id, problem.status, problem=problem, kept=kept)
        return page("equipment.html", here, problem.status, problem=problem, kept=kept, **_now(here))
    return _back({"branch_id": here.branch_id, "equipment_id": equipment_id}, "planned")


@manager.post("/app/manage/maintenance/<window_id>/end")
@for_roles(*STAFF)
def end(window_id: str) -> Response:
    """End a maintenance now, or call it off."""
    window = backend().send("POST", f"/monitoring/v1/maintenance-windows/{window_id}/end", key=idempotency_key())
    return _back(window.json, "ended")


def _now(here: Branch) -> dict[str, Any]:
    get = partial(backend().get, branch_id=here.branch_id)
    items, faults, windows = backend().all_of(
        partial(get, "/monitoring/v1/equipment", cursor=request.args.get("cursor"), limit=PAGE),
        partial(get, "/monitoring/v1/faults", open="true", limit=PAGE),
        partial(get, "/monitoring/v1/maintenance-windows", limit=PAGE),
    )
    shown = sorted(items["items"], key=lambda each: (URGENT.index(each["state"]), each["name"]))
    return {
        "items": shown, "cursor": items["next_cursor"], "faults": faults["items"], "windows": windows["items"],
        "names": {each["equipment_id"]: each["name"] for each in shown},
    }  # fmt: skip


def _item(equipment_id: str, status: int = 200, **values: Any) -> Response:
    get, path = backend().get, f"/monitoring/v1/equipment/{equipment_id}"
    found, history, faults, windows = backend().all_of(
        partial(get, path),
        partial(get, f"{path}/history", cursor=request.args.get("cursor"), limit=LINES),
        partial(get, "/monitoring/v1/faults", equipment_id=equipment_id, open="true", limit=LINES),
        partial(get, "/monitoring/v1/maintenance-windows", equipment_id=equipment_id, limit=LINES),
    )
    return page(
        "item.html", of(found["branch_id"]), status, item=found, history=history["items"],
        cursor=history["next_cursor"], faults=faults["items"], windows=windows["items"], names={}, **values,
    )  # fmt: skip


def _moment(here: Branch, name: str) -> str | None:
    """A time of the form, by the branch's clock; None where it is left empty."""
    said = typed(name, 30)
    if not said:
        return None
    try:
        return datetime.fromisoformat(said).replace(tzinfo=here.timezone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise Problem(
            422, "no_such_time", "시각을 2026-01-31T09:30처럼 적으세요.", "Write times like 2026-01-31T09:30."
        ) from error


def _back(concerns: dict[str, Any], told: str) -> Response:
    """To the page that the form was sent from: the item's, or the branch's."""
    if concerns.get("equipment_id") and typed("from", 10) == "item":
        target = url_for("manager.item", equipment_id=concerns["equipment_id"], told=told)
    else:
        target = url_for("manager.equipment", branch=concerns["branch_id"], told=told)
    return make_response(redirect(target, 303))
