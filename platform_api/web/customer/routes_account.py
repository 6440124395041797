"""One's own data."""

from flask import Response

from platform_api.web.customer import customer
from platform_api.web.pages import for_roles, show


@customer.get("/app/me")
@for_roles()
def account() -> Response:
    """Not made yet."""
    return show("home.html")
