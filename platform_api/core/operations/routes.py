"""HTTP of what operators see and do in every domain, of its own database alone."""

from dataclasses import asdict
from typing import Any

from platform_api.core.models import InboxEvent
from platform_api.core.operations import schemas, standing, trail
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import Blueprint, blueprint, current_session, transaction


def operations_blueprint(domain: str) -> Blueprint:
    """`/<domain>/v1/operations`: how its events stand, its dead letters, its audit trail."""
    description = f"Operations of {domain}: events, dead letters, audit trail"
    blp = blueprint(f"operations-{domain}", f"/{domain}/v1/operations", description)
    blp.before_request(small_body)

    @blp.get("/events")
    @require("operator")
    @transaction(domain)
    @blp.response(200, schemas.EventsStanding)
    def events() -> dict[str, Any]:
        """What waits to be sent and to be handled, for how long, and what came to a stop."""
        return asdict(standing.standing(current_session(), domain))

    @blp.get("/dead-letters")
    @require("operator")
    @transaction(domain)
    @blp.arguments(schemas.DeadLetterQuery, location="query")
    @blp.response(200, schemas.DeadLetterPage)
    def dead_letters(query: dict[str, Any]) -> dict[str, Any]:
        """Events that no handler could take, and why; the last received first."""
        items, cursor = standing.letters(current_session(), domain, **query)
        return {"items": items, "next_cursor": cursor}

    @blp.post("/dead-letters/<event_id>/replay")
    @require("operator")
    @transaction(domain, idempotent=True)
    @blp.response(200, schemas.DeadLetterSchema)
    def replay_dead_letter(event_id: str) -> InboxEvent:
        """Give one of them another run; one that has had it already stays as it is."""
        return standing.replay_one(current_session(), principal(), domain, event_id)

    @blp.post("/dead-letters/replay")
    @require("operator")
    @transaction(domain, idempotent=True)
    @blp.arguments(schemas.Replay)
    @blp.response(200, schemas.Replayed)
    def replay_dead_letters(wanted: dict[str, Any]) -> dict[str, int]:
        """Give all of them, or those of a type, another run."""
        return {"replayed": standing.replay_all(current_session(), principal(), domain, wanted["type"])}

    @blp.get("/audit")
    @require("operator")
    @transaction(domain)
    @blp.arguments(schemas.ActQuery, location="query")
    @blp.response(200, schemas.ActPage)
    def search_audit(query: dict[str, Any]) -> dict[str, Any]:
        """Who did what to what, newest first; that you looked is recorded."""
        items, cursor = trail.search(current_session(), principal(), domain, **query)
        return {"items": items, "next_cursor": cursor}

    return blp
