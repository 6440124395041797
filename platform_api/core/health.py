"""Liveness and readiness: /healthz says that the process runs, /readyz that it can do its work now."""

from collections.abc import Callable, Mapping

import structlog
from flask import Blueprint, Response, jsonify

from platform_api.core import draining

log = structlog.get_logger(__name__)


def health_blueprint(service: str, checks: Mapping[str, Callable[[], None]]) -> Blueprint:
    """Routes /healthz and /readyz.

    Args:
        service: name told in the answers.
        checks: what readiness needs; a check raises when it does not hold.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify(service=service, status="ok")

    @blueprint.get("/readyz")
    def readyz() -> tuple[Response, int]:
        if draining.under_way():
            return jsonify(service=service, status="stopping", failed={}), 503
        failed = {}
        for name, check in checks.items():
            try:
                check()
            except Exception as error:
                log.warning("not_ready", check=name, error=str(error))
                failed[name] = type(error).__name__
        status = "ok" if not failed else "unavailable"
        return jsonify(service=service, status=status, failed=failed), 200 if not failed else 503

    return blueprint
