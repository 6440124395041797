"""JSON logs, one line an event, with secrets and faces taken out before anything is written.

Redaction goes by the name of a field, at any depth, and by type: bytes and arrays are never written, whatever
they are called, because a template or a photo must not reach a log by accident.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

SECRET_NAMES = frozenset(
    {
        "password", "secret", "token", "authorization", "cookie", "api_key", "client_secret", "access_token",
        "refresh_token", "kiosk_key", "private_key", "card", "card_number", "number", "phone", "email", "vector",
        "vectors", "template", "embedding", "photo", "photos", "frame", "crop", "image", "landmarks",
    }
)  # fmt: skip
_PLAIN = (str, int, float, bool, type(None))
_DEPTH = 6


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """`value` as it may be logged: secret fields as "[redacted]", binary data as its type and size."""
    if name.lower() in SECRET_NAMES:
        return "[redacted]"
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth >= _DEPTH:
        return f"[{type(value).__name__}]"
    if isinstance(value, Mapping):
        return {str(key): redact(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, "", depth + 1) for item in value]
    if hasattr(value, "shape"):
        return f"[array {getattr(value, 'shape', '')}]"
    return str(value)


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # The exception and the event's own name are text of ours, not fields.
    return {key: value if key in {"event", "exception"} else redact(value, key) for key, value in event.items()}


def _add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace.id"] = format(context.trace_id, "032x")
        event["span.id"] = format(context.span_id, "016x")
    return event


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send the logs of structlog and of the standard library to stderr as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="@timestamp"),
        _add_trace,
        structlog.processors.format_exc_info,
        _redact_event,
    ]

    def add_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service.name"] = service
        return event

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, add_service],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[*shared, add_service, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
