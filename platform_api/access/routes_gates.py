"""HTTP of edge nodes and gates, for the people who run them."""

from __future__ import annotations

from typing import Any

from platform_api.access import gates
from platform_api.access import schemas_devices as schemas
from platform_api.access.models import Edge, Gate
from platform_api.core.schemas import IfMatch, etag, tagged
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("gates", "/access/v1", "Edge nodes and gates")
blueprints = [blp]

STAFF = ("operator", "branch_manager")
Tagged = tuple[Any, int, dict[str, str]]


def _with_key(made: tuple[Gate, str], status: int) -> Tagged:
    gate, key = made
    shown = schemas.GateSchema().dump(gate)
    return {**shown, "kiosk_key": key}, status, {"ETag": etag(gate.version), "Cache-Control": "no-store"}


@blp.post("/edges")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.NewEdge)
@blp.response(201, schemas.EdgeSchema)
def register_edge(wanted: dict[str, Any]) -> Edge:
    """Make a node known by its public key."""
    return gates.register_edge(current_session(), principal(), **wanted)


@blp.get("/edges")
@require(*STAFF)
@transaction("access")
@blp.arguments(schemas.OfBranch, location="query")
@blp.response(200, schemas.EdgePage)
def list_edges(query: dict[str, Any]) -> dict[str, Any]:
    """Nodes of your branches."""
    return {"items": gates.edges(current_session(), principal(), query["branch_id"]), "next_cursor": None}


@blp.post("/edges/<edge_id>/revoke")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.response(200, schemas.EdgeSchema)
def revoke_edge(edge_id: str) -> Edge:
    """Trust a node no more."""
    return gates.revoke_edge(current_session(), principal(), edge_id)


# Not kept under an idempotency key: the answer holds a secret. A gate's name is unique in its branch instead.
@blp.post("/gates")
@require(*STAFF)
@transaction("access")
@blp.arguments(schemas.NewGate)
@blp.response(201, schemas.GateWithKey)
def create_gate(wanted: dict[str, Any]) -> Tagged:
    """Make a gate; its kiosk's key is shown this once."""
    return _with_key(gates.create_gate(current_session(), principal(), wanted), 201)


@blp.get("/gates")
@require(*STAFF)
@transaction("access")
@blp.arguments(schemas.OfBranch, location="query")
@blp.response(200, schemas.GatePage)
def list_gates(query: dict[str, Any]) -> dict[str, Any]:
    """Gates of your branches."""
    return {"items": gates.gates(current_session(), principal(), query["branch_id"]), "next_cursor": None}


@blp.get("/gates/<gate_id>")
@require(*STAFF)
@transaction("access")
@blp.response(200, schemas.GateSchema)
def get_gate(gate_id: str) -> Tagged:
    """One gate, with its ETag."""
    gate = gates.get_gate(current_session(), principal(), gate_id)
    return tagged(gate, gate.version)


@blp.patch("/gates/<gate_id>")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.GateChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.GateSchema)
def change_gate(wanted: dict[str, Any], headers: dict[str, Any], gate_id: str) -> Tagged:
    """Change some fields of a gate."""
    gate = gates.change_gate(current_session(), principal(), gate_id, wanted, headers["if_match"])
    return tagged(gate, gate.version)


@blp.delete("/gates/<gate_id>")
@require(*STAFF)
@transaction("access")
@blp.response(204)
def remove_gate(gate_id: str) -> None:
    """Take a gate out of service."""
    gates.remove_gate(current_session(), principal(), gate_id)


@blp.post("/gates/<gate_id>/kiosk-key")
@require(*STAFF)
@transaction("access")
@blp.response(201, schemas.GateWithKey)
def renew_kiosk_key(gate_id: str) -> Tagged:
    """A new key for the kiosk, shown this once."""
    return _with_key(gates.renew_kiosk_key(current_session(), principal(), gate_id), 201)
