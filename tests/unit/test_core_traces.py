"""Spans: which are recorded, what is taken out of them, and that without an endpoint the context still goes on."""

import json
from collections.abc import Iterator

import pytest
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from platform_api.core.telemetry import configure_tracing, current_traceparent, tracing
from platform_api.core.telemetry.exporting import RedactingExporter, provider
from tests.unit.test_core_logs import TEXTS

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE}-{PARENT}-01"


def recorded(made: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(RedactingExporter(exporter)))
    return exporter


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is exported; of this test alone, since a process has one provider for good."""
    made = provider("smartfit-test")
    monkeypatch.setattr(tracing, "_tracer", made.get_tracer("test"))
    yield recorded(made)
    made.shutdown()


def test_work_goes_on_under_the_trace_that_it_was_put_aside_with(spans: InMemorySpanExporter) -> None:
    with tracing.span("later", SpanKind.CONSUMER, traceparent=CALLER), tracing.span("inner"):
        told = current_traceparent()
    inner, later = spans.get_finished_spans()
    assert later.parent is not None
    assert format(later.parent.span_id, "016x") == PARENT
    assert inner.parent is not None
    assert inner.context is not None
    assert inner.parent.span_id == later.context.span_id
    assert told == f"00-{TRACE}-{inner.context.span_id:016x}-01"
    assert later.resource.attributes["service.name"] == "smartfit-test"


@pytest.mark.parametrize("given", ["", "nonsense", "00-0-0-01", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(spans: InMemorySpanExporter, given: str) -> None:
    with tracing.span("later", traceparent=given):
        pass
    (found,) = spans.get_finished_spans()
    assert found.parent is None


def test_an_error_is_noted_by_its_type_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="hunter22"), tracing.span("work"):
        raise ValueError("hunter22")
    (found,) = spans.get_finished_spans()
    assert found.status.status_code is StatusCode.ERROR
    assert dict(found.attributes or {}) == {"error.type": "ValueError"}
    assert "hunter22" not in found.to_json()


def test_the_sampler_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ParentBased{root:AlwaysOnSampler" in provider("x").sampler.get_description()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    made = provider("x")
    exporter, tracer = recorded(made), made.get_tracer("t")
    for _ in range(400):
        tracer.start_span("root").end()
    share = len(exporter.get_finished_spans()) / 400
    assert 0.1 < share < 0.4
    # Whoever began the trace has decided for all.
    exporter.clear()
    for flags in ("00", "01"):
        with tracing_parent(flags):
            tracer.start_span(flags).end()
    assert [span.name for span in exporter.get_finished_spans()] == ["01"]


def tracing_parent(flags: str) -> trace.Span:
    context = trace.SpanContext(
        int(TRACE, 16), int(PARENT, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags))
    )
    return trace.use_span(trace.NonRecordingSpan(context))  # type: ignore[return-value]


def test_a_call_that_nothing_caused_makes_no_trace() -> None:
    made = provider("x")
    exporter, tracer = recorded(made), made.get_tracer("t")
    tracer.start_span("SELECT outbox", kind=SpanKind.CLIENT).end()
    assert exporter.get_finished_spans() == ()
    with tracer.start_as_current_span("job"):
        tracer.start_span("SELECT outbox", kind=SpanKind.CLIENT).end()
    assert [span.name for span in exporter.get_finished_spans()] == ["SELECT outbox", "job"]


@pytest.mark.parametrize("kind", TEXTS)
def test_spans_hold_nothing_that_logs_must_not_hold(kind: str) -> None:
    said, secret = TEXTS[kind]
    made = provider("x")
    exporter, tracer = recorded(made), made.get_tracer("t")
    with (
        pytest.raises(ValueError),
        tracer.start_as_current_span("work", attributes={"a": said, "list": [said]}) as span,
    ):
        span.add_event("told", {"said": said})
        raise ValueError(said)
    (found,) = exporter.get_finished_spans()
    whole = json.dumps(json.loads(found.to_json()), ensure_ascii=False)
    assert secret not in whole
    assert "Traceback" in whole


def test_urls_are_exported_without_their_query() -> None:
    made = provider("x")
    exporter, tracer = recorded(made), made.get_tracer("t")
    attributes = {"url.full": "https://h/a?q=1", "url.query": "q=1", "http.target": "/a?q", "url.path": "/a"}
    tracer.start_span("GET", attributes=attributes).end()
    (found,) = exporter.get_finished_spans()
    assert dict(found.attributes or {}) == {"url.full": "https://h/a", "http.target": "/a", "url.path": "/a"}


def test_without_an_endpoint_nothing_is_recorded_and_the_context_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    app = Flask("x")

    @app.get("/")
    def told() -> str:
        with tracing.span("inner"):
            return current_traceparent() or ""

    assert configure_tracing("smartfit-test", app) is False
    client = app.test_client()
    assert client.get("/", headers={"traceparent": CALLER}).text == CALLER
    # The next request has nothing of it.
    assert client.get("/").text == ""
    assert current_traceparent() is None
