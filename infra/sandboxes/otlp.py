"""A receiver of traces: OTLP over HTTP, protobuf (https://opentelemetry.io/docs/specs/otlp/). `python -m infra.sandboxes.otlp --port P`

`POST /v1/traces` takes spans as any collector does, gzip or not. `GET /spans` gives the last ones as JSON, oldest first;
`?trace_id=HEX` those of one trace, `?wait=SECONDS&at_least=N` once there are so many of them. Without TLS and without a key: it
stands for a collector beside the services. Memory is bounded; nothing is kept when it stops.
"""

import argparse
import gzip
import threading
import time
import zlib
from collections import deque
from typing import Any

from flask import Flask, Response, jsonify, request
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KEPT = 20_000
MAX_BODY_BYTES = 16 * 1024 * 1024
LONGEST_WAIT_S = 30.0


class Spans:
    """The last spans."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._changed = threading.Condition()

    def add(self, sent: ExportTraceServiceRequest) -> None:
        """Keep what was sent."""
        found = [
            _document(span, _values(resource.resource.attributes))
            for resource in sent.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self._kept.extend(found)
            self._changed.notify_all()

    def wanted(self, trace_id: str | None, at_least: int, wait_s: float) -> list[dict[str, Any]]:
        """Those of a trace (None: all), after at most `wait_s` seconds."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            while True:
                found = [span for span in self._kept if trace_id in (None, span["trace_id"])]
                left = deadline - time.monotonic()
                if len(found) >= at_least or left <= 0:
                    return found
                self._changed.wait(left)


def _document(span: Span, resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex() or None,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        "service": resource.get("service.name"),
        "resource": resource,
        "attributes": _values(span.attributes),
        "events": [{"name": event.name, "attributes": _values(event.attributes)} for event in span.events],
        "links": [{"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()} for link in span.links],
        "error": span.status.code == span.status.STATUS_CODE_ERROR,
        "status": span.status.message,
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
    }


def _values(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        found[pair.key] = _value(pair.value)
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind) if kind else None


def create_app() -> Flask:
    """The receiver."""
    app = Flask("otlp")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    spans = Spans()

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(service="otlp", status="ok")

    @app.post("/v1/traces")
    def take() -> tuple[Response, int]:
        body = request.get_data()
        try:
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            spans.add(ExportTraceServiceRequest.FromString(body))
        except (DecodeError, OSError, EOFError, zlib.error):
            return jsonify(error="not an ExportTraceServiceRequest"), 400
        answer = ExportTraceServiceResponse().SerializeToString()
        return Response(answer, content_type="application/x-protobuf"), 200

    @app.get("/spans")
    def show() -> Response:
        wait_s = min(request.args.get("wait", 0.0, float), LONGEST_WAIT_S)
        return jsonify(spans=spans.wanted(request.args.get("trace_id"), request.args.get("at_least", 1, int), wait_s))

    return app


class _Server(BaseApplication):
    def __init__(self, bind: str) -> None:
        self._bind = bind
        super().__init__()

    def load_config(self) -> None:
        options = {"bind": self._bind, "worker_class": "gthread", "workers": 1, "threads": 8, "graceful_timeout": 1}
        for name, value in {**options, "control_socket_disable": True}.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m infra.sandboxes.otlp")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4318)
    chosen = parser.parse_args()
    _Server(f"{chosen.host}:{chosen.port}").run()


if __name__ == "__main__":
    main()
