"""What helpers do on their phones."""

from flask import Blueprint, Response

from platform_api.web.pages import for_roles, show

helper = Blueprint("helper", __name__, template_folder="templates")


@helper.get("/app/work")
@for_roles()
def new() -> Response:
    """Not made yet."""
    return show("home.html")


@helper.get("/app/work/tasks")
@for_roles()
def tasks() -> Response:
    """Not made yet."""
    return show("home.html")


@helper.get("/app/work/earnings")
@for_roles()
def earnings() -> Response:
    """Not made yet."""
    return show("home.html")
