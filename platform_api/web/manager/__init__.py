"""What managers of branches do."""

from flask import Blueprint, Response

from platform_api.web.pages import for_roles, show

manager = Blueprint("manager", __name__, template_folder="templates")


@manager.get("/app/manage/queue")
@for_roles()
def queue() -> Response:
    """Not made yet."""
    return show("home.html")


@manager.get("/app/manage/branch")
@for_roles()
def branch() -> Response:
    """Not made yet."""
    return show("home.html")


@manager.get("/app/manage/equipment")
@for_roles()
def equipment() -> Response:
    """Not made yet."""
    return show("home.html")


@manager.get("/app/manage/entries")
@for_roles()
def entries() -> Response:
    """Not made yet."""
    return show("home.html")


@manager.get("/app/manage/reviews")
@for_roles()
def reviews() -> Response:
    """Not made yet."""
    return show("home.html")
