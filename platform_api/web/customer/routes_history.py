"""Where one has been let in, and where not and why."""

from __future__ import annotations

from flask import Response, request

from platform_api.web.customer import customer
from platform_api.web.customer.names import names_of
from platform_api.web.pages import backend, for_roles, me, show
from platform_api.web.words_entries import REMEDIES

PER_PAGE = 20
OUTCOMES = ("granted", "denied")


@customer.get("/app/entries")
@for_roles()
def entries() -> Response:
    """One's own entries; those of others stand on the managers' pages."""
    outcome = request.args.get("outcome") if request.args.get("outcome") in OUTCOMES else None
    found = backend().get(
        "/access/v1/entries",
        member_id=me().member_id, outcome=outcome, cursor=request.args.get("cursor"), limit=PER_PAGE,
    )  # fmt: skip
    names = names_of(entry["branch_id"] for entry in found["items"])
    return show("customer/entries.html", entries=found, names=names, outcome=outcome, remedies=REMEDIES)
