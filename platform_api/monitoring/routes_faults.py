"""HTTP of faults, maintenance windows, the overview of each branch, and the timeline of models."""

from typing import Any

from platform_api.core.schemas import IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.monitoring import faults, maintenance, schemas
from platform_api.monitoring.authority import STAFF
from platform_api.monitoring.models import Fault, MaintenanceWindow

blp = blueprint("faults", "/monitoring/v1", "Faults, maintenance windows, overview of each branch")
blueprints = [blp]


@blp.get("/faults")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(schemas.FaultQuery, location="query")
@blp.response(200, schemas.FaultPage)
def list_faults(query: dict[str, Any]) -> dict[str, Any]:
    """Faults of your branches, newest first; `open=true` for those that last."""
    items, cursor = faults.listed(current_session(), principal(), query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/faults/<fault_id>")
@require(*STAFF)
@transaction("monitoring")
@blp.response(200, schemas.FaultSchema)
def get_fault(fault_id: str) -> Fault:
    """One fault."""
    return faults.get(current_session(), principal(), fault_id)


@blp.post("/faults/<fault_id>/acknowledge")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.arguments(schemas.Acknowledgement)
@blp.response(200, schemas.FaultSchema)
def acknowledge_fault(wanted: dict[str, Any], fault_id: str) -> Fault:
    """Say that you have seen a fault and take care of it."""
    return faults.acknowledge(current_session(), principal(), fault_id, wanted["note"])


@blp.get("/overview")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(schemas.OverviewQuery, location="query")
@blp.response(200, schemas.OverviewPage)
def show_overview(query: dict[str, Any]) -> dict[str, Any]:
    """The fleet of each of your branches."""
    items, cursor = faults.overview(current_session(), principal(), query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/maintenance-windows")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.arguments(schemas.NewWindow)
@blp.response(201, schemas.WindowSchema)
def plan_window(wanted: dict[str, Any]) -> Any:
    """Plan a time in which an item, or a whole branch, raises no alert."""
    window = maintenance.plan(current_session(), principal(), wanted)
    return tagged(window, window.version, 201)


@blp.get("/maintenance-windows")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(schemas.WindowQuery, location="query")
@blp.response(200, schemas.WindowPage)
def list_windows(query: dict[str, Any]) -> dict[str, Any]:
    """Present and future windows of your branches; past ones with `past=true`."""
    items, cursor = maintenance.listed(current_session(), principal(), query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/maintenance-windows/<window_id>")
@require(*STAFF)
@transaction("monitoring")
@blp.response(200, schemas.WindowSchema)
def get_window(window_id: str) -> Any:
    """One window, with its ETag."""
    window = maintenance.get(current_session(), principal(), window_id)
    return tagged(window, window.version)


@blp.patch("/maintenance-windows/<window_id>")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.arguments(schemas.WindowChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.WindowSchema)
def change_window(wanted: dict[str, Any], headers: dict[str, Any], window_id: str) -> Any:
    """Move a window; needs If-Match."""
    window = maintenance.change(current_session(), principal(), window_id, wanted, headers["if_match"])
    return tagged(window, window.version)


@blp.post("/maintenance-windows/<window_id>/end")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.response(200, schemas.WindowSchema)
def end_window(window_id: str) -> MaintenanceWindow:
    """End a window now, or call it off."""
    return maintenance.end(current_session(), principal(), window_id)


@blp.get("/model-changes")
@require("operator")
@transaction("monitoring")
@blp.arguments(schemas.ModelChangeQuery, location="query")
@blp.response(200, schemas.ModelChangePage)
def list_model_changes(query: dict[str, Any]) -> dict[str, Any]:
    """Models trained, deployed and rolled back, newest first: what changed when a fault began."""
    items, cursor = faults.model_changes(current_session(), query)
    return {"items": items, "next_cursor": cursor}
