"""Finding branches, entries, notifications."""

from flask import Response

from platform_api.web.customer import customer
from platform_api.web.pages import for_roles, show


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
