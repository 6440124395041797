"""What the operations center does: the fleet, faults, events, models, the audit trail."""

from flask import Blueprint

operations = Blueprint("operations", __name__, template_folder="templates")

from platform_api.web.operations import (  # noqa: E402, F401 (each adds its pages)
    routes_audit,
    routes_deployments,
    routes_events,
    routes_faults,
    routes_fleet,
    routes_models,
    routes_moderation,
    routes_money,
    routes_trainings,
)
