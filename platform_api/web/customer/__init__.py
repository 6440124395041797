"""What members do on their phones."""

from flask import Blueprint

customer = Blueprint("customer", __name__, template_folder="templates")

# The routes register themselves on it.
from platform_api.web.customer import (  # noqa: E402, F401
    routes_account,
    routes_discover,
    routes_face,
    routes_joining,
    routes_pass,
)
