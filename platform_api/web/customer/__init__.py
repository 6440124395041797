"""What members do on their phones."""

from flask import Blueprint

customer = Blueprint("customer", __name__, template_folder="templates")

# The routes register themselves on it.
from platform_api.web.customer import (  # noqa: E402, F401
    routes_account,
    routes_discover,
    routes_export,
    routes_face,
    routes_gyms,
    routes_history,
    routes_joining,
    routes_notifications,
    routes_pass,
    routes_reviews,
    routes_settings,
)
