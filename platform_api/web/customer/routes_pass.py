"""The QR pass."""

from flask import Response

from platform_api.web.customer import customer
from platform_api.web.pages import for_roles, show


@customer.get("/app/pass")
@for_roles()
def pass_() -> Response:
    """Not made yet."""
    return show("home.html")
