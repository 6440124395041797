"""What the operations center does."""

from flask import Blueprint, Response

from platform_api.web.pages import for_roles, show

operations = Blueprint("operations", __name__, template_folder="templates")


@operations.get("/app/ops/fleet")
@for_roles()
def fleet() -> Response:
    """Not made yet."""
    return show("home.html")


@operations.get("/app/ops/faults")
@for_roles()
def faults() -> Response:
    """Not made yet."""
    return show("home.html")


@operations.get("/app/ops/events")
@for_roles()
def events() -> Response:
    """Not made yet."""
    return show("home.html")


@operations.get("/app/ops/models")
@for_roles()
def models() -> Response:
    """Not made yet."""
    return show("home.html")


@operations.get("/app/ops/audit")
@for_roles()
def audit() -> Response:
    """Not made yet."""
    return show("home.html")
