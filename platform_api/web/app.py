"""The app of the web clients: `gunicorn -c python:platform_api.gunicorn_conf 'platform_api.web.app:create_app()'`."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from flask import Flask, Response, request
from flask_compress import Compress
from werkzeug.exceptions import HTTPException

from platform_api.core.errors import Problem, from_http_exception, register_error_handlers
from platform_api.core.health import health_blueprint
from platform_api.core.internal_tls import internal_tls
from platform_api.core.settings import load
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument, machine
from platform_api.web import assets, entry, installing, pages, push, signin
from platform_api.web.backend import Backend
from platform_api.web.customer import customer
from platform_api.web.helper import helper
from platform_api.web.manager import manager
from platform_api.web.operations import operations
from platform_api.web.settings import WebSettings

SERVICE = "smartfit-web"
# As much as the domains take: five photos of 8 MiB and the form around them.
MAX_REQUEST_BYTES = 45 * 1024 * 1024


def create_app() -> Flask:
    """The app.

    Raises:
        SettingsError: a setting is missing or wrong, by name.
    """
    settings = load(WebSettings)
    configure_logging(SERVICE, settings.log_level)
    app = Flask(__name__, static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=1024 * 1024,
        PROPAGATE_EXCEPTIONS=False,
        # Pages carry no secret that a size could tell of: tokens are in cookies, keys of forms are random. (BREACH)
        COMPRESS_ALGORITHM=["br", "gzip"],
        COMPRESS_STREAMS=False,
        COMPRESS_MIN_SIZE=500,
    )
    register_error_handlers(app)
    app.register_error_handler(Problem, pages.problem_page)
    app.register_error_handler(HTTPException, _refused)
    instrument(app, SERVICE)
    if certificate := internal_tls().internal_cert_file:
        machine.watch_certificate("internal", certificate)
    configure_tracing(SERVICE, app)
    Compress(app)
    app.extensions["backend"] = Backend(settings)
    pages.init_app(app, ZoneInfo(settings.web_timezone))
    signin.init_app(app, app.extensions["backend"])
    for blueprint in (
        assets.blueprint,
        entry.blueprint,
        installing.blueprint,
        push.blueprint,
        customer,
        helper,
        manager,
        operations,
    ):
        app.register_blueprint(blueprint)
    # A domain that is away takes its part of the pages along, not the pages.
    app.register_blueprint(health_blueprint(SERVICE, {}))
    return app


def _refused(error: HTTPException) -> Response:
    if error.response is not None or (error.code and error.code < 400):
        answer = error.get_response()
        return answer if isinstance(answer, Response) else Response(status=error.code)
    if error.code == 413:
        limit = MAX_REQUEST_BYTES // 2**20
        return pages.problem_page(
            Problem(
                413, "too_large",
                f"보낸 파일이 너무 큽니다. 모두 합쳐 {limit} MB까지 보낼 수 있습니다. 사진 수를 줄이거나 작게 찍어 다시 보내세요.",
                f"The files are too large: {limit} MB in all. Send fewer or smaller photos.",
            )
        )  # fmt: skip
    if not request.path.startswith(signin.PATH):
        return from_http_exception(error).response()
    return pages.problem_page(from_http_exception(error))
