"""HTTP for edge nodes (each request signed with the node's key) and, never routed by the gateway, for other services."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from platform_api.access import entries, feed, gallery, strangers
from platform_api.access import schemas_devices as schemas
from platform_api.access.device_auth import device, require_device
from platform_api.access.feed import Page
from platform_api.access.models import Stranger
from platform_api.access.routes_entries import picture
from platform_api.access.settings import settings
from platform_api.core.errors import Problem
from platform_api.core.openapi import BINARY
from platform_api.core.security import principal, require
from platform_api.core.uploads import body_up_to
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("edge", "/access/v1/edge", "For edge nodes: change feed, access log, identification, strangers")
internal = blueprint("access_internal", "/access/internal/v1", "For other services of the platform only")
blueprints = [blp, internal]

MAX_BATCH_BYTES = 2 * 2**20
MAX_PROBE_BYTES = 96 * 1024
_ENTRY = schemas.EntrySchema()


@blp.get("/changes")
@require_device
@transaction("access")
@blp.arguments(schemas.FeedQuery, location="query")
@blp.response(200, schemas.FeedPage)
@blp.alt_response(410, "GONE")
def changes(query: dict[str, Any]) -> Page:
    """What has changed for this node's branch; 410 `cursor_too_old`: start again from an empty cursor."""
    node, limit = device(), min(query["limit"], settings().feed_max_page)
    return feed.read(current_session(), node.edge_id, node.branch_id, query["cursor"], limit)


@blp.post("/entries")
@require_device
@body_up_to(MAX_BATCH_BYTES)
@transaction("access")
@blp.arguments(schemas.Batch)
@blp.response(200, schemas.IntakeSchema)
def ingest(batch: dict[str, Any]) -> entries.Intake:
    """Hand over log entries; those known already are counted, those refused are named, the rest is kept."""
    good, refused = checked(batch["entries"], settings().entries_max_batch)
    intake = entries.ingest(current_session(), device(), good)
    intake.errors = sorted([*intake.errors, *refused], key=lambda error: error["index"])
    return intake


@blp.post("/identify")
@require_device
@body_up_to(MAX_PROBE_BYTES)
@transaction("access")
@blp.arguments(schemas.Probe)
@blp.response(200, schemas.CandidatesSchema)
def identify(probe: dict[str, Any]) -> dict[str, Any]:
    """Who of all members is this? The threshold is the caller's, by `gallery_size`."""
    return _identify(probe["model_version"], probe["vectors"], None)


@blp.post("/strangers")
@require_device
@body_up_to(4 * 2**20)
@transaction("access")
@blp.arguments(schemas.StrangerUpload, location="query")
@blp.response(201, schemas.StrangerReceipt)
@blp.alt_response(200, schema=schemas.StrangerReceipt, description="Known already, or its time was over.")
@blp.doc(requestBody={"required": True, "content": {"image/jpeg": {"schema": BINARY}}})
def keep_stranger(about: dict[str, Any]) -> tuple[Stranger, int]:
    """Hand over a frame of somebody refused (JPEG body); it is kept sealed for a stated time."""
    entry_id, jpeg = str(about["entry_id"]), request.get_data(cache=False)
    stranger, new = strangers.keep(current_session(), device(), entry_id, about["gate_id"], about["at"], jpeg)
    return stranger, 201 if new else 200


@internal.post("/gallery/identify")
@require("service")
@body_up_to(MAX_PROBE_BYTES)
@transaction("access")
@internal.arguments(schemas.ProbeOfMember)
@internal.response(200, schemas.CandidatesSchema)
def identify_for_service(probe: dict[str, Any]) -> dict[str, Any]:
    """Is this face enrolled under another member?"""
    return _identify(probe["model_version"], probe["vectors"], probe["exclude_member_id"])


@internal.get("/strangers/<stranger_id>/photo")
@require("service")
@transaction("access")
@internal.response(200, BINARY, content_type="image/jpeg")
@internal.alt_response(410, "GONE")
def stranger_photo_for_service(stranger_id: str) -> Response:
    """The frame of a stranger in whom a member was known; audited."""
    return picture(strangers.photo_for_service(current_session(), principal(), stranger_id))


def checked(documents: list[Any], most: int) -> tuple[list[tuple[int, dict[str, Any]]], list[dict[str, Any]]]:
    """(index, entry) of those that are well formed, and a refusal for each that is not.

    Raises:
        Problem: 413 more than `most`.
    """
    if len(documents) > most:
        raise Problem(
            413, "batch_too_large", f"한 번에 {most}건까지 보낼 수 있습니다.", f"At most {most} entries at once."
        )
    good, refused = [], []
    for index, document in enumerate(documents):
        try:
            good.append((index, _ENTRY.load(document)))
        except ValidationError as error:
            wrong = ", ".join(sorted(map(str, error.messages_dict)))
            refused.append(
                entries.refusal(index, document, "entry_invalid", f"잘못된 항목: {wrong}", f"Wrong: {wrong}")
            )
    return good, refused


def _identify(model_version: str, vectors: gallery.Vectors, exclude: str | None) -> dict[str, Any]:
    session = current_session()
    found = gallery.search(session, model_version, vectors, exclude)
    return {"candidates": found, "gallery_size": gallery.size(session, model_version)}
