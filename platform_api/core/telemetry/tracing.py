"""OpenTelemetry hooks: W3C trace context always; spans are exported where OTEL_EXPORTER_OTLP_ENDPOINT is set."""

import importlib.util
import os
from typing import Any

from flask import Flask
from opentelemetry import propagate, trace


def current_traceparent() -> str | None:
    """The W3C traceparent of the running span, to be carried by an event or a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


def configure_tracing(service: str, app: Flask | None = None, engine: Any = None) -> bool:
    """Export spans of Flask, requests and SQLAlchemy by OTLP. Returns whether tracing is on.

    Off without OTEL_EXPORTER_OTLP_ENDPOINT, or where the SDK is not installed (a gate node).
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or importlib.util.find_spec("opentelemetry.sdk") is None:
        return False
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        RequestsInstrumentor().instrument()
    if app is not None:
        FlaskInstrumentor().instrument_app(app, excluded_urls="healthz,readyz,metrics")  # type: ignore[no-untyped-call]
    if engine is not None:
        SQLAlchemyInstrumentor().instrument(engine=engine)
    return True
