"""What helpers do on their phones: hand work in with photos, see how it was judged, and what they earned."""

from flask import Blueprint

helper = Blueprint("helper", __name__, template_folder="templates")

from platform_api.web.helper import routes_earnings, routes_tasks, routes_withdrawals, routes_work  # noqa: E402, F401
