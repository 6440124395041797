"""What members do on their phones."""

from flask import Blueprint

customer = Blueprint("customer", __name__, template_folder="templates")

# The routes register themselves.
from platform_api.web.customer import (  # noqa: E402
    routes_account as routes_account,
    routes_discover as routes_discover,
    routes_face as routes_face,
    routes_joining as routes_joining,
    routes_pass as routes_pass,
)
