"""What members do on their phones."""

from flask import Blueprint, Response

from platform_api.web.pages import for_roles, show

customer = Blueprint("customer", __name__, template_folder="templates")


@customer.get("/app/pass")
@for_roles()
def pass_() -> Response:
    """Not made yet."""
    return show("home.html")


@customer.get("/app/find")
@for_roles()
def find() -> Response:
    """Not made yet."""
    return show("home.html")


@customer.get("/app/entries")
@for_roles()
def entries() -> Response:
    """Not made yet."""
    return show("home.html")


@customer.get("/app/notifications")
@for_roles()
def notifications() -> Response:
    """Not made yet."""
    return show("home.html")


@customer.get("/app/me")
@for_roles()
def account() -> Response:
    """Not made yet."""
    return show("home.html")
