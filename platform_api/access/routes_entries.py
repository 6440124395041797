"""HTTP of the access log and of the review of strangers."""

from __future__ import annotations

from typing import Any

from flask import Response

from platform_api.access import entries, schemas, strangers
from platform_api.access.models import Stranger
from platform_api.core.openapi import BINARY
from platform_api.core.schemas import PEOPLE
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("entries", "/access/v1", "The access log, and frames of strangers for review")
blueprints = [blp]

REVIEWERS = ("operator", "branch_manager")


@blp.get("/entries")
@require(*PEOPLE)
@transaction("access")
@blp.arguments(schemas.EntryQuery, location="query")
@blp.response(200, schemas.EntryPage)
def search_entries(query: dict[str, Any]) -> dict[str, Any]:
    """Entries, newest first: your own; of your branches where you manage any; all for operators."""
    items, cursor = entries.search(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/strangers")
@require(*REVIEWERS)
@transaction("access")
@blp.arguments(schemas.StrangerQuery, location="query")
@blp.response(200, schemas.StrangerPage)
def list_strangers(query: dict[str, Any]) -> dict[str, Any]:
    """Frames of people your gates refused, newest first, while they are kept."""
    items, cursor = strangers.listed(current_session(), principal(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/strangers/<stranger_id>/photo")
@require(*REVIEWERS)
@transaction("access")
@blp.response(200, BINARY, content_type="image/jpeg")
@blp.alt_response(410, "GONE")
def stranger_photo(stranger_id: str) -> Response:
    """The frame; each look is audited."""
    return picture(strangers.photo(current_session(), principal(), stranger_id))


@blp.post("/strangers/<stranger_id>/decision")
@require(*REVIEWERS)
@transaction("access", idempotent=True)
@blp.arguments(schemas.DecisionSchema)
@blp.response(200, schemas.StrangerSchema)
def decide(wanted: dict[str, Any], stranger_id: str) -> Stranger:
    """Say who it was."""
    return strangers.decide(current_session(), principal(), stranger_id, **wanted)


def picture(jpeg: bytes) -> Response:
    """The answer that shows a frame: kept by no cache, and taken for nothing but a picture."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": "inline", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, 200, headers, content_type="image/jpeg")
