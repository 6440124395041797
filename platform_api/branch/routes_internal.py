"""HTTP of the branch domain for the data side: histories by pseudonym, what kind of place branches are."""

from typing import Any

from platform_api.branch import histories, preferences
from platform_api.branch import schemas_internal as schemas
from platform_api.core.schemas import PageQuery
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

internal = blueprint("branch-internal", "/branch/internal/v1", "For services only; the gateway does not route it")


@internal.get("/visits")
@require("service")
@transaction("branch")
@internal.arguments(schemas.HistoryQuery, location="query")
@internal.response(200, schemas.VisitPage)
def visits(query: dict[str, Any]) -> dict[str, Any]:
    """Visits of members, by pseudonym, the oldest first."""
    items, cursor = histories.visits(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@internal.get("/ratings")
@require("service")
@transaction("branch")
@internal.arguments(PageQuery, location="query")
@internal.response(200, schemas.RatingPage)
def ratings(query: dict[str, Any]) -> dict[str, Any]:
    """How members rated branches, by pseudonym."""
    items, cursor = histories.reviews(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@internal.get("/traits")
@require("service")
@transaction("branch")
@internal.arguments(schemas.TraitsQuery, location="query")
@internal.response(200, schemas.BranchTraitsPage)
def traits(query: dict[str, Any]) -> dict[str, Any]:
    """What kind of place each open branch is, of which enough is known; measured now, neither kept nor told."""
    items, cursor = preferences.measured(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@internal.post("/preferences")
@require("service")
@transaction("branch", idempotent=True)
@internal.response(200, schemas.PreferenceList)
def compute_preferences() -> dict[str, Any]:
    """Measure every open branch of which enough is known, keep it and tell the others."""
    return {"items": preferences.compute_all(current_session(), principal().id)}
