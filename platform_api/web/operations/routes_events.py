"""Events between the domains: what waits and for how long, what came to a stop, another run for it."""

from __future__ import annotations

from typing import Any

from flask import Response, request, url_for

from platform_api.core.database import DOMAINS
from platform_api.core.errors import Problem
from platform_api.web.operations import operations, samples
from platform_api.web.operations.asking import answers, back, get
from platform_api.web.pages import backend, for_roles, idempotency_key, show, typed

PAGE = 20
LATE_S = 30.0
"""An event is through in a second; one that waits so long is told in colour."""


@operations.get("/app/ops/events")
@for_roles("operator")
def events() -> Response:
    """How each domain stands, and its dead letters."""
    standing = _standing()
    chosen = request.args.get("domain")
    asked = [row["domain"] for row in standing["rows"] if row["dead_letters"]]
    if chosen in DOMAINS:
        asked = [chosen]
    questions = {
        domain: get(
            f"/{domain}/v1/operations/dead-letters", limit=PAGE, cursor=request.args.get("cursor") if chosen else None
        )
        for domain in asked
    }
    letters, away = answers(questions) if questions else ({}, {})
    return show(
        "operations/events.html", letters=letters, letters_away=away, chosen=chosen,
        replayed=request.args.get("replayed", type=int), kinds=_kinds(letters), **standing,
    )  # fmt: skip


@operations.get("/app/ops/events/now")
@for_roles("operator")
def events_now() -> Response:
    """The part of it that is asked for again and again."""
    return show("operations/events_now.html", **_standing())


@operations.post("/app/ops/events/<domain>/dead-letters/<event_id>/replay")
@for_roles("operator")
def replay_one(domain: str, event_id: str) -> Response:
    """Give one dead letter another run."""
    path = f"/{_known(domain)}/v1/operations/dead-letters/{event_id}/replay"
    backend().send("POST", path, key=idempotency_key())
    return back(url_for("operations.events", replayed=1))


@operations.post("/app/ops/events/<domain>/dead-letters/replay")
@for_roles("operator")
def replay_all(domain: str) -> Response:
    """Give all dead letters of a domain, or those of a type, another run."""
    path = f"/{_known(domain)}/v1/operations/dead-letters/replay"
    said = backend().send("POST", path, body={"type": typed("type", 100) or None}, key=idempotency_key()).json
    return back(url_for("operations.events", replayed=said["replayed"]))


def _known(domain: str) -> str:
    if domain not in DOMAINS:
        raise Problem(404)
    return domain


def _standing() -> dict[str, Any]:
    found, away = answers({domain: get(f"/{domain}/v1/operations/events") for domain in DOMAINS})
    rows = [{"domain": domain, **_row(found.get(domain))} for domain in DOMAINS]
    kept = samples.with_newest({row["domain"]: row["lag"] for row in rows})
    for row in rows:
        row["samples"] = kept[row["domain"]]
    dead = sum((row["dead_letters"] or 0) + (row["unreadable"] or 0) for row in rows)
    return {"rows": rows, "dead": dead, "away": away, "next_query": samples.query(kept)}


def _row(found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {"lag": None, "waiting": None, "dead_letters": None, "unreadable": None, "late": True}
    lag = max(found["unsent_oldest_s"], found["pending_oldest_s"])
    return {"lag": lag, "waiting": found["unsent"] + found["pending"], "late": lag > LATE_S, **found}


def _kinds(letters: dict[str, Any]) -> dict[str, dict[str, int]]:
    """How many of each type a domain shows."""
    counted: dict[str, dict[str, int]] = {}
    for domain, page in letters.items():
        of = counted.setdefault(domain, {})
        for letter in page["items"]:
            of[letter["type"]] = of.get(letter["type"], 0) + 1
    return counted
