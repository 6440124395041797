"""The one app factory of the REST APIs: a process may serve one domain or all (`SMARTFIT_DOMAINS`)."""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, jsonify
from flask_swagger_ui import get_swaggerui_blueprint

from platform_api.core import request_limits
from platform_api.core.database import DOMAINS, ping
from platform_api.core.errors import register_error_handlers
from platform_api.core.health import health_blueprint
from platform_api.core.internal_tls import internal_tls
from platform_api.core.migrations import is_current
from platform_api.core.operations import operations_blueprint
from platform_api.core.schemas import component_name
from platform_api.core.security import tokens
from platform_api.core.settings import Settings, SettingsError, load, read_variable
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument, machine
from platform_api.core.web import Api, register_backend_errors

# Enough for five photos of 8 MiB and the form around them; routes may want less.
MAX_REQUEST_BYTES = 45 * 1024 * 1024


def installed_domains() -> list[str]:
    """The domains that this release has."""
    return [name for name in DOMAINS if _has_routes(name)]


def _has_routes(domain: str) -> bool:
    return bool(importlib.util.find_spec(f"platform_api.{domain}")) and bool(
        importlib.util.find_spec(f"platform_api.{domain}.routes")
    )


def chosen_domains(domains: Iterable[str] | None = None) -> list[str]:
    """The domains of this process: as given, else as `SMARTFIT_DOMAINS` says (comma-separated), else all.

    Raises:
        SettingsError: one of them does not exist.
    """
    installed = installed_domains()
    named = read_variable("SMARTFIT_DOMAINS")
    chosen = list(domains) if domains is not None else [d.strip() for d in named.split(",")] if named else installed
    unknown = [name for name in chosen if name not in installed]
    if unknown or not chosen:
        raise SettingsError(f"SMARTFIT_DOMAINS: 없는 도메인입니다 (unknown: {unknown}; there are {installed})")
    return chosen


def create_app(domains: Iterable[str] | None = None) -> Flask:
    """The application that serves `domains`.

    Raises:
        SettingsError: a setting of one of them is missing or wrong; each is named.
    """
    settings = load(Settings)
    chosen = chosen_domains(domains)
    service = f"smartfit-{chosen[0]}" if len(chosen) == 1 else "smartfit-api"
    configure_logging(service, settings.log_level)
    app = _bare_app()
    register_error_handlers(app)
    register_backend_errors(app)
    instrument(app, service)
    if certificate := internal_tls().internal_cert_file:
        machine.watch_certificate("internal", certificate)
    configure_tracing(service, app)
    request_limits.init_app(app)
    tokens.init_app(app)
    checks: dict[str, Callable[[], None]] = {}
    for routes in _mount(app, chosen)[1]:
        if hasattr(routes, "init_app"):
            routes.init_app(app)
    for domain in chosen:
        checks[f"{domain}.database"] = functools.partial(ping, domain)
        checks[f"{domain}.migrations"] = functools.partial(_current, domain)
    if "auth" in chosen and len(chosen) < len(installed_domains()):
        # The gateway sends here whoever wants the documentation: it is of all domains, wherever they are served.
        app.view_functions["api-docs.openapi_json"] = lambda: jsonify(_whole_document())
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", {"app_name": "Smart Fitness"}))
    app.register_blueprint(health_blueprint(service, checks))
    return app


@functools.cache
def _whole_document() -> dict[str, Any]:
    """Made when somebody asks for it, since it brings along all that the domains are made of."""
    return openapi_document()


def openapi_document(domains: Iterable[str] | None = None) -> dict[str, Any]:
    """The OpenAPI document of `domains` (all where left out); needs no settings and no database."""
    app = _bare_app()
    api, _ = _mount(app, list(domains) if domains is not None else installed_domains())
    with app.app_context():
        document: dict[str, Any] = api.spec.to_dict()
    return document


def _bare_app() -> Flask:
    app = Flask("platform_api")
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_REQUEST_BYTES,
        PROPAGATE_EXCEPTIONS=False,
        API_TITLE="Smart Fitness",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    return app


def _mount(app: Flask, domains: list[str]) -> tuple[Api, list[ModuleType]]:
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    node = {**bearer, "description": "Assertion of a gate node, signed with its own key (RFC 7523)."}
    spec = {"components": {"securitySchemes": {"bearer": bearer, "device": node}}}
    plugin = MarshmallowPlugin(schema_name_resolver=component_name)
    api = Api(app, spec_kwargs={**spec, "marshmallow_plugin": plugin})
    modules = [importlib.import_module(f"platform_api.{domain}.routes") for domain in domains]
    for routes in modules:
        for blueprint in routes.blueprints:
            api.register_blueprint(blueprint)
    for domain in domains:
        api.register_blueprint(operations_blueprint(domain))
    return api, modules


def _current(domain: str) -> None:
    if not is_current(domain):
        raise RuntimeError(f"the database of {domain} is not at the newest revision")
