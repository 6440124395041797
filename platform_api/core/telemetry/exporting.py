"""Spans on their way out: which are recorded, and what is taken out of them. Needs the SDK (extra `traces`).

Names of attributes are those of the stable conventions for HTTP and databases, and of the messaging conventions, as
opentelemetry-semantic-conventions 0.66b1 has them (schema 1.44.0).
"""

import os
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, TraceState
from opentelemetry.util.types import Attributes

from platform_api.core.telemetry.logs import service_version
from platform_api.core.telemetry.redaction import redact_text

# A query may hold a code or a token, and nobody needs it to find a slow route.
_DROPPED = frozenset({"url.query"})
_URLS = frozenset({"url.full", "http.url", "http.target"})


def start(service: str) -> None:
    """Export what this process records from now on, in the background; while the receiver is away spans are dropped."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    # The stable names; the instrumentations still default to the old ones.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    found = provider(service)
    found.add_span_processor(BatchSpanProcessor(RedactingExporter(OTLPSpanExporter())))
    trace.set_tracer_provider(found)
    RequestsInstrumentor().instrument()


def provider(service: str) -> TracerProvider:
    """Of tracers, with the sampler that OTEL_TRACES_SAMPLER names."""
    made = TracerProvider(resource=Resource.create({"service.name": service, "service.version": service_version()}))
    made.sampler = CausedSampler(made.sampler)
    return made


class CausedSampler(Sampler):
    """No trace of its own for a call that nothing caused: a look into an outbox every second, an echo, a page of a feed.

    For all else the sampler that was chosen decides.
    """

    def __init__(self, chosen: Sampler) -> None:
        self._chosen = chosen

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See the class."""
        if kind is SpanKind.CLIENT and not trace.get_current_span(parent_context).get_span_context().is_valid:
            return SamplingResult(Decision.DROP)
        return self._chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """For people."""
        return f"CausedSampler({self._chosen.get_description()})"


class RedactingExporter(SpanExporter):
    """Takes out of spans what logs must not have either: instrumentations put whole URLs and errors of drivers into them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the class."""
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for what is on its way."""
        return self._exporter.force_flush(timeout_millis)


def _redacted(span: ReadableSpan) -> ReadableSpan:
    description = span.status.description
    return ReadableSpan(
        name=redact_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes),
        events=[Event(each.name, _attributes(each.attributes), each.timestamp) for each in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, redact_text(description)) if description else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(given: Attributes) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in (given or {}).items() if name not in _DROPPED}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value.partition("?")[0] if name in _URLS else value)
    if isinstance(value, tuple | list):
        return [_value(name, each) for each in value]
    return value
