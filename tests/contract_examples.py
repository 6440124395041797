"""Requests that are well formed, made out of the OpenAPI document: what a rule decides on is then the caller and the object alone."""

from __future__ import annotations

import base64
import re
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from platform_api.core.models import new_id
from tests.contract_document import DOCUMENT, OPERATIONS
from tests.contract_values import PASSWORD, UNIT, fill, in_hours
from tests.contract_world import World

SCHEMAS = DOCUMENT["components"]["schemas"]


def browser_key() -> str:
    """The public key of a push subscription."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


_PATTERNS = {
    r"^[0-9]{6}$": "000000",
    r"^[0-9a-f]{64}$": "0" * 64,
    r"^[A-Za-z0-9_:-]{20,4096}$": "x" * 40,
    r"^\+?[0-9](?:[ -]?[0-9]){6,18}$": "+82 10-9876-5432",
}
_FORMATS = {"date": "2026-01-01", "email": "somebody@example.com", "url": "https://127.0.0.1:8448"}
SUBSCRIPTION = {
    "endpoint": "https://fcm.googleapis.com/wp/somebody",
    "keys": {"p256dh": browser_key(), "auth": base64.urlsafe_b64encode(bytes(16)).rstrip(b"=").decode()},
}
# Where a schema cannot say what a rule wants; `...`: left out.
_KNOWN: dict[str, dict[str, Any]] = {
    "PUT /auth/v1/members/{member_id}/password": {"current_password": PASSWORD, "new_password": PASSWORD},
    "PATCH /auth/v1/members/{member_id}": {"email": ..., "current_password": ...},
    "POST /auth/internal/v1/galleries/{version}/templates": {
        "templates": [{"source_template_id": new_id(), "member_id": new_id(), "rows": 1, "vectors": UNIT}],
    },
    "PATCH /access/v1/gates/{gate_id}": {"open_seconds": 5.0},
    "POST /access/v1/branches/{branch_id}/mode": {"mode": "normal"},
    "POST /access/v1/memberships/{membership_id}/freeze": {"from": "2030-01-01", "until": "2030-01-09"},
    "POST /access/v1/strangers/{stranger_id}/decision": {"decision": "dismissed", "member_id": ...},
    "POST /helper/v1/withdrawals": {"destination": {"bank": "한국은행", "account_number": "110-123-456789", "holder": "김하늘"}},
    "POST /helper/v1/adjustments": {"won": 1},
    "PATCH /branch/v1/branches/{branch_id}": {"phone": "02-123-4567"},
    "POST /branch/v1/tasks/{task_id}/decision": {"decision": "confirm", "label": ...},
    "PATCH /monitoring/v1/equipment/{equipment_id}": {"name": "treadmill of another name"},
    "POST /monitoring/v1/maintenance-windows": {"branch_id": "gangnam"},
    "PATCH /monitoring/v1/maintenance-windows/{window_id}": {"starts_at": ...},
    "POST /notification/v1/devices/webpush": {"subscription": SUBSCRIPTION},
}  # fmt: skip


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, found by its reference where it is one."""
    return dict(SCHEMAS[schema["$ref"].rpartition("/")[2]]) if "$ref" in schema else schema


def json_schema(name: str) -> dict[str, Any] | None:
    """Of an operation's JSON body; None where it has none."""
    content = OPERATIONS[name].get("requestBody", {}).get("content", {})
    return resolved(content["application/json"]["schema"]) if "application/json" in content else None


def body(name: str, world: World, *, whole: bool = False) -> Any:
    """A JSON body of an operation that its schema passes; `whole`: with the fields that need not be there, too."""
    schema = json_schema(name)
    assert schema is not None, name
    method, path = name.split(" ", 1)
    made = _value(schema, whole=whole or method == "PATCH")
    if isinstance(made, dict):
        fill(made, {**world.ids[path.split("/")[1]], **world.values.get(path, {})}, 0)
        made |= _KNOWN.get(name, {})
        made = {field: value for field, value in made.items() if value is not ...}
    return made


def options(name: str, world: World) -> dict[str, Any]:
    """What the test client wants to be told for a well-formed request of an operation, but headers and path."""
    told: dict[str, Any] = {"query_string": query(name, world)}
    content = OPERATIONS[name].get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        schema = resolved(content["multipart/form-data"]["schema"])
        ids = world.ids[name.split("/")[1]]
        files = {"photos": lambda: [world.photo()], "photo": world.photo}
        told["data"] = {field: files[field]() if field in files else ids[field][0] for field in schema["required"]}
    elif "image/jpeg" in content:
        told |= {"data": world.photo()[0], "content_type": "image/jpeg"}
    elif "application/json" in content:
        told["json"] = body(name, world)
    return told


def query(name: str, world: World) -> dict[str, str]:
    """What must stand in the query."""
    ids = world.ids[name.split("/")[1]]
    given = {"entry_id": new_id(), "at": in_hours(0)}
    found = [known for known in OPERATIONS[name].get("parameters", ()) if known["in"] == "query" and known["required"]]
    return {known["name"]: given.get(known["name"]) or ids.get(known["name"], ["gangnam"])[0] for known in found}


def put(path: str, ids: dict[str, str]) -> str:
    """A path with ids in the places of its parameters."""
    return re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)


def _value(schema: dict[str, Any], *, whole: bool = False) -> Any:
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next(found for found in kinds if found != "null")
    if kind == "object":
        wanted = schema.get("properties", {})
        return {
            field: _value(wanted[field], whole=whole) for field in (wanted if whole else schema.get("required", ()))
        }
    if kind == "array":
        return [_value(schema["items"], whole=whole)] * max(1, schema.get("minItems", 0))
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    if schema.get("format") == "date-time":
        return in_hours(3)
    return _FORMATS.get(schema.get("format", "")) or _PATTERNS.get(schema.get("pattern", ""), "gangnam")
