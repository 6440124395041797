"""Traces: W3C trace context always; spans are exported where OTEL_EXPORTER_OTLP_ENDPOINT is set.

One trace goes from the gateway through HTTP, SQL, the outbox, the bus and the inbox to the handlers, and to what they publish
next: whatever is put aside for later (an event, a delivery) keeps the traceparent it was made under, and `span` goes on from
it. Without an endpoint or the SDK (a gate node) nothing is recorded and the context is still passed on, so that log lines of
one request have one trace.id everywhere. Samplers are those of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, by default
parentbased_always_on.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import structlog
from flask import Flask, g, request
from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("platform_api")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_UNTRACED = "^[a-z]+://[^/]+/(healthz|readyz|metrics)$"
"""URLs, as a regular expression: asked every few seconds by whoever watches."""


def current_traceparent() -> str | None:
    """The W3C traceparent of the running span, to be carried by an event or a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def add_context(headers: MutableMapping[str, str]) -> None:
    """Write the context of the running span into headers of a request to another service."""
    propagate.inject(headers)


@contextlib.contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    traceparent: str | None = None,
    attributes: Mapping[str, str | int] | None = None,
) -> Iterator[Span]:
    """Work as a span. An error that leaves it is noted by its type; its text could carry what must not be exported.

    Args:
        traceparent: of what caused the work, if that is not what runs now; one that is malformed counts as none.
    """
    parent = propagate.extract({"traceparent": traceparent}) if traceparent else None
    with _tracer.start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as found:
        try:
            yield found
        except Exception as error:
            failed(error)
            raise


def start_span(
    name: str, kind: SpanKind, *, traceparent: str | None = None, attributes: Mapping[str, str | int] | None = None
) -> Span:
    """A span that does not become the running one, for work that goes on beside other work; its caller ends it."""
    parent = propagate.extract({"traceparent": traceparent}) if traceparent else None
    return _tracer.start_span(name, parent, kind, attributes)


def traceparent_of(span: Span) -> str | None:
    """The W3C traceparent of a span."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent")


def failed(error: BaseException, span: Span | None = None) -> None:
    """Mark a span, by default the running one, as failed."""
    found = span or trace.get_current_span()
    found.set_attribute("error.type", type(error).__qualname__)
    found.set_status(StatusCode.ERROR)


def configure_tracing(service: str, app: Flask | None = None, engine: "Engine | None" = None) -> bool:
    """Export spans of Flask, requests and SQLAlchemy by OTLP. Returns whether tracing is on.

    Off without OTEL_EXPORTER_OTLP_ENDPOINT, or where the SDK is not installed (extra `traces`); the context of a request is
    then still passed on.
    """
    if not _export(service):
        if app is not None:
            _pass_on(app)
        return False
    if app is not None:
        from opentelemetry.instrumentation.flask import FlaskInstrumentor

        FlaskInstrumentor().instrument_app(app, excluded_urls=_UNTRACED)  # type: ignore[no-untyped-call]
    if engine is not None:
        _trace_statements(engine)
    return True


def _export(service: str) -> bool:
    """Set up the export of this process, once."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return False
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        log.warning("traces_not_exported", reason="the SDK is missing: pip install smart-fitness[traces]")
        return False
    from opentelemetry.sdk.trace import TracerProvider

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        from platform_api.core.telemetry.exporting import start

        start(service)
    return True


def _pass_on(app: Flask) -> None:
    @app.before_request
    def attach() -> None:
        g.trace_context = context.attach(propagate.extract(request.headers))

    @app.teardown_request
    def detach(_: BaseException | None) -> None:
        token = g.pop("trace_context", None)
        if token is not None:
            context.detach(token)


def _trace_statements(engine: Any) -> None:
    # What SQLAlchemyInstrumentor does for one engine; it takes one a process, and we have one a domain.
    from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
    from opentelemetry.metrics import get_meter

    usage = get_meter("platform_api").create_up_down_counter("db.client.connections.usage", unit="connections")
    EngineTracer(trace.get_tracer("opentelemetry.instrumentation.sqlalchemy"), engine, usage)  # type: ignore[no-untyped-call]
