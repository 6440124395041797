"""Rate, errors and duration of every request, and /metrics for Prometheus.

Routes are labelled by their rule, never by the path asked for: ids in labels would make a series for each member.
"""

import os
import re
import time
from collections.abc import Collection

import structlog
from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from uuid_utils import uuid7

from platform_api.core.telemetry import machine

log = structlog.get_logger("access")

# From a millisecond (cached answers) to the 10 s at which the gateway gives up.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUESTS = Counter("smartfit_http_requests_total", "Requests", ["service", "method", "route", "status"])
DURATION = Histogram(
    "smartfit_http_request_duration_seconds", "Time to answer", ["service", "method", "route"], buckets=BUCKETS
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_QUIET = {"/healthz", "/readyz", "/metrics"}


def exposition() -> Response:
    """All metrics of the service in the Prometheus text format."""
    machine.measure()
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def instrument(app: Flask, service: str, unlogged: Collection[str] = ()) -> None:
    """Give `app` request ids, access logs, request metrics and the route /metrics.

    Args:
        unlogged: rules that are asked several times a second; of them only what went wrong is logged.
    """

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid7())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(answer: Response) -> Response:
        if "started" not in g:
            return answer
        seconds = time.perf_counter() - g.started
        route = request.url_rule.rule if request.url_rule else "unmatched"
        answer.headers["X-Request-ID"] = g.request_id
        if route not in _QUIET:
            REQUESTS.labels(service, request.method, route, answer.status_code).inc()
            DURATION.labels(service, request.method, route).observe(seconds)
            if route not in unlogged or answer.status_code >= 500:
                log.info(
                    "request",
                    method=request.method,
                    route=route,
                    status=answer.status_code,
                    ms=round(seconds * 1000, 2),
                    principal=g.get("principal_id"),
                )
        return answer

    app.add_url_rule("/metrics", "metrics", exposition)
