"""What the route modules share."""

from __future__ import annotations

from flask import request

PEOPLE = ("customer", "helper", "branch_manager", "operator")
SMALL_BODY = 64 * 1024


def small_body() -> None:
    """Before every request of this domain: a body needs no more than 64 KiB, unless its route says otherwise."""
    request.max_content_length = SMALL_BODY
