"""HTTP of the access domain: branches, models and passes here; memberships, gates, entries and devices in their modules."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from platform_api.access import (
    branches,
    face_models,
    faces,
    gallery,
    personal,
    qr,
    routes_devices,
    routes_entries,
    routes_gates,
    routes_memberships,
    routes_models,
    schemas,
    strangers,
)
from platform_api.access.models import Branch, Model
from platform_api.access.settings import settings
from platform_api.core.openapi import BINARY
from platform_api.core.schemas import PEOPLE, IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("access", "/access/v1", "Branches and their mode, QR passes, face models at the edges")
blueprints = [
    blp,
    personal.blp,
    *routes_memberships.blueprints,
    *routes_gates.blueprints,
    *routes_entries.blueprints,
    *routes_devices.blueprints,
    *routes_models.blueprints,
]
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, gallery.envelope, strangers.store, faces.auth_client):
        cached.cache_clear()
    settings()
    gallery.envelope()
    strangers.store()


@blp.get("/branches")
@require()
@transaction("access")
@blp.response(200, schemas.BranchPage)
def list_branches() -> dict[str, Any]:
    """All branches."""
    return {"items": branches.listed(current_session()), "next_cursor": None}


@blp.get("/branches/<branch_id>")
@require()
@transaction("access")
@blp.response(200, schemas.BranchSchema)
def get_branch(branch_id: str) -> tuple[Branch, int, dict[str, str]]:
    """One branch."""
    branch = branches.get(current_session(), branch_id)
    return tagged(branch, branch.version)


@blp.put("/branches/<branch_id>")
@require("operator", "branch_manager")
@transaction("access", idempotent=True)
@blp.arguments(schemas.BranchChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.BranchSchema)
@blp.alt_response(201, schema=schemas.BranchSchema, description="It is new.")
def put_branch(wanted: dict[str, Any], headers: dict[str, Any], branch_id: str) -> tuple[Branch, int, dict[str, str]]:
    """Describe a branch to the gates; 201 where it is new."""
    branch, created = branches.put(current_session(), principal(), branch_id, wanted, headers["if_match"])
    return tagged(branch, branch.version, 201 if created else 200)


@blp.post("/branches/<branch_id>/mode")
@require("operator", "branch_manager")
@transaction("access", idempotent=True)
@blp.arguments(schemas.ModeChange)
@blp.response(200, schemas.BranchSchema)
def set_mode(wanted: dict[str, str], branch_id: str) -> Branch:
    """Lock down, open in an emergency, or return to normal."""
    return branches.set_mode(current_session(), principal(), branch_id, wanted["mode"], wanted["reason"])


@blp.get("/branches/<branch_id>/occupancy")
@require()
@transaction("access")
@blp.response(200, schemas.OccupancySchema)
def occupancy(branch_id: str) -> dict[str, Any]:
    """How many are inside now."""
    return branches.live_occupancy(current_session(), branch_id)


@blp.post("/qr-passes")
@require(*PEOPLE)
@transaction("access")
@blp.arguments(schemas.PassRequest)
@blp.arguments(schemas.PassQuery, location="query")
@blp.response(201, schemas.PassSchema)
@blp.alt_response(201, schema=BINARY, content_type=qr.FORMATS["png"])
@blp.alt_response(201, schema=BINARY, content_type=qr.FORMATS["svg"])
def issue_pass(wanted: dict[str, str], query: dict[str, str]) -> Response | tuple[qr.Pass, int, dict[str, str]]:
    """A pass for yourself, good for 30 seconds and one gate; as JSON, or as a picture of the QR code."""
    made = qr.issue(current_session(), principal(), wanted["branch_id"])
    kind, headers = query["format"], {"Cache-Control": "no-store"}
    if kind == "json":
        return made, 201, headers
    return Response(qr.picture(made.token, kind), 201, headers, content_type=qr.FORMATS[kind])


@blp.post("/qr-keys/rotate")
@require("operator")
@transaction("access", idempotent=True)
@blp.response(200, schemas.QrKeySchema)
def rotate_qr_key() -> dict[str, Any]:
    """Publish a new key for passes; it signs once all edges have had time to hear of it."""
    key = qr.rotate(current_session(), principal().id)
    return {"kid": key.kid, "active_from": key.active_from}


@blp.get("/models")
@require("operator", "service")
@transaction("access")
@blp.response(200, schemas.ModelPage)
def list_models() -> dict[str, Any]:
    """Face models that the edges may run."""
    return {"items": face_models.listed(current_session()), "next_cursor": None}


@blp.put("/models/<version>")
@require("operator", "service")
@transaction("access", idempotent=True)
@blp.arguments(schemas.ModelChange)
@blp.response(200, schemas.ModelSchema)
def put_model(wanted: dict[str, Any], version: str) -> Model:
    """Make a model, its thresholds, or which one is live, known to the edges."""
    return face_models.publish(current_session(), principal(), version, **wanted)
