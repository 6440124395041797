"""The gate node's web application. Started by `gunicorn -c access_edge/gunicorn_conf.py "access_edge.app:create_app()"`."""

from __future__ import annotations

import io
from typing import IO

from flask import Flask, Request, Response

from access_edge import admin, kiosk_routes, routes
from access_edge.messages import message
from access_edge.node import EdgeNode
from access_edge.replica import ReplicaDamaged
from access_edge.settings import EdgeSettings
from platform_api.core.errors import Problem, register_error_handlers
from platform_api.core.health import health_blueprint
from platform_api.core.settings import load
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument, machine

SERVICE = "access-edge"


class EdgeRequest(Request):
    """Keeps uploads in memory: Werkzeug would spool a large frame to a temporary file, a face in the clear."""

    def _get_file_stream(
        self, total_content_length: int | None, content_type: str | None, filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:  # fmt: skip
        return io.BytesIO()


def create_app(settings: EdgeSettings | None = None, node: EdgeNode | None = None) -> Flask:
    """The app with a running node.

    Raises:
        SettingsError: a setting is missing or wrong, by name.
    """
    settings = settings or (node.settings if node else load(EdgeSettings))
    configure_logging(SERVICE, settings.log_level)
    app = Flask(__name__, static_folder=None)
    app.request_class = EdgeRequest
    app.config["MAX_CONTENT_LENGTH"] = int(settings.edge_max_body_mib * 2**20)
    # Werkzeug reads 64 KiB at a time and counts them, files' bytes too, against this.
    app.config["MAX_FORM_MEMORY_SIZE"] = 512 * 1024
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    if node is None:
        node = EdgeNode(settings)
        node.start()
    app.extensions["edge"] = node
    register_error_handlers(app)

    @app.errorhandler(ReplicaDamaged)
    def on_damage(damage: ReplicaDamaged) -> Response:
        node.state.damaged(damage)
        words = message("replica_damaged")
        return Problem(503, "replica_damaged", words.ko, words.en).response()

    instrument(app, SERVICE, unlogged=kiosk_routes.UNLOGGED)
    machine.watch_volume("edge", settings.edge_state_dir)
    if settings.edge_tls_cert_file:
        machine.watch_certificate("edge", settings.edge_tls_cert_file)
    configure_tracing(SERVICE, app)
    checks = {
        "replica": node.state.check_replica,
        "gallery": node.state.check_gallery,
        "log": node.state.check_log,
    }
    app.register_blueprint(health_blueprint(SERVICE, checks))
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(admin.blueprint)
    app.register_blueprint(kiosk_routes.blueprint)
    measured = node

    @app.before_request
    def measure() -> None:
        # Gauges are read when somebody asks, not kept up to date for nobody.
        from flask import request

        if request.path == "/metrics":
            measured.state.measure()

    @app.after_request
    def private(answer: Response) -> Response:
        answer.headers.setdefault("Cache-Control", "no-store")
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        return answer

    return app
