"""HTTP of the monitoring domain: equipment here; faults, maintenance and overview in `routes_faults`."""

from datetime import datetime
from typing import Any

from flask import Flask

from platform_api.core.schemas import IfMatch, PageQuery, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.monitoring import faults, personal, registry, routes_faults, schemas
from platform_api.monitoring.authority import STAFF
from platform_api.monitoring.models import Equipment, EquipmentState
from platform_api.monitoring.registry import Shown
from platform_api.monitoring.settings import settings

blp = blueprint("equipment", "/monitoring/v1", "Equipment: registry, keys, present state, history")
blueprints = [blp, personal.blp, *routes_faults.blueprints]
_SHOWN = tuple(name for name in schemas.EquipmentSchema().fields if name != "causes")
_OF_STATE = frozenset(EquipmentState.__mapper__.columns.keys()) - frozenset(Equipment.__mapper__.columns.keys())
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    settings.cache_clear()
    settings()


def shown(found: Shown) -> dict[str, Any]:
    """An item as it is answered: its description and its state in one."""
    equipment, state = found
    causes = [
        {"reason": reason, **cause, "since": datetime.fromisoformat(cause["since"])}
        for reason, cause in sorted(state.causes.items())
    ]
    body = {name: getattr(state if name in _OF_STATE else equipment, name) for name in _SHOWN}
    return {**body, "causes": causes}


@blp.post("/equipment")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.arguments(schemas.NewEquipment)
@blp.response(201, schemas.EquipmentSchema)
def register(wanted: dict[str, Any]) -> Any:
    """Register an item of equipment of a branch you manage. Its key is issued by itself."""
    found = registry.register(current_session(), principal(), wanted)
    return tagged(shown(found), found[0].version, 201)


@blp.get("/equipment")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(schemas.EquipmentQuery, location="query")
@blp.response(200, schemas.EquipmentPage)
def list_equipment(query: dict[str, Any]) -> dict[str, Any]:
    """Equipment of your branches, with its present state."""
    items, cursor = registry.listed(current_session(), principal(), query)
    return {"items": [shown(item) for item in items], "next_cursor": cursor}


@blp.get("/equipment/<equipment_id>")
@require(*STAFF)
@transaction("monitoring")
@blp.response(200, schemas.EquipmentSchema)
def get_equipment(equipment_id: str) -> Any:
    """An item, with its present state and why."""
    found = registry.get(current_session(), principal(), equipment_id)
    return tagged(shown(found), found[0].version)


@blp.patch("/equipment/<equipment_id>")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.arguments(schemas.EquipmentChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.EquipmentSchema)
def change_equipment(wanted: dict[str, Any], headers: dict[str, Any], equipment_id: str) -> Any:
    """Change some fields of an item; needs If-Match."""
    found = registry.change(current_session(), principal(), equipment_id, wanted, headers["if_match"])
    return tagged(shown(found), found[0].version)


@blp.post("/equipment/<equipment_id>/retire")
@require(*STAFF)
@transaction("monitoring", idempotent=True)
@blp.response(200, schemas.EquipmentSchema)
def retire_equipment(equipment_id: str) -> Any:
    """Take an item out of service for good."""
    found = registry.retire(current_session(), principal(), equipment_id)
    return tagged(shown(found), found[0].version)


# Not kept under an idempotency key: the answer holds a secret. Asking again replaces the key, which harms nobody.
@blp.post("/equipment/<equipment_id>/key")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(schemas.KeyRequest)
@blp.response(201, schemas.IssuedKey)
def issue_key(wanted: dict[str, Any], equipment_id: str) -> Any:
    """Issue a key for the item's heartbeats, in place of the one it had; a private half made here is shown this once."""
    equipment, private = registry.issue_key(current_session(), principal(), equipment_id, wanted["public_key"])
    return _key(equipment, private), 201, {"Cache-Control": "no-store"}


@blp.get("/equipment/<equipment_id>/history")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.HistoryPage)
def equipment_history(query: dict[str, Any], equipment_id: str) -> dict[str, Any]:
    """State changes of an item, newest first. A suspicion appears only where it became a fault."""
    items, cursor = registry.history(current_session(), principal(), equipment_id, query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/equipment/<equipment_id>/audit")
@require(*STAFF)
@transaction("monitoring")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.TrailPage)
def equipment_audit(query: dict[str, Any], equipment_id: str) -> dict[str, Any]:
    """What people did to an item, newest first."""
    items, cursor = faults.trail(current_session(), principal(), equipment_id, query)
    return {"items": items, "next_cursor": cursor}


def _key(equipment: Equipment, private: str | None) -> dict[str, Any]:
    return {
        "equipment_id": equipment.equipment_id,
        "key_id": equipment.key_id,
        "public_key": equipment.public_key,
        "private_key": private,
    }
