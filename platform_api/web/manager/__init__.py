"""What managers of branches do; operators may do it for any branch."""

from flask import Blueprint

manager = Blueprint("manager", __name__, template_folder="templates")

from platform_api.web.manager import (  # noqa: E402, F401 (each adds its pages)
    chooser,
    routes_branch,
    routes_entries,
    routes_equipment,
    routes_faces,
    routes_held,
    routes_queue,
    routes_reviews,
    routes_settings,
)
