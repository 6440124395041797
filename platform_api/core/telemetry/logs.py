"""JSON logs on stderr, one line an event, in the Elastic Common Schema (ecs.py), redacted before anything is written
(redaction.py). Whatever speaks: structlog, the standard library, an exception that nobody caught."""

import functools
import json
import logging
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from importlib import metadata
from types import TracebackType
from typing import Any

import structlog
from opentelemetry import trace

from platform_api.core.telemetry import ecs
from platform_api.core.telemetry.redaction import redact, redact_text

_FIRST = ("@timestamp", "log.level", "message")
# These print to stderr by themselves, as plain text.
_SPEAK_FOR_THEMSELVES = ("gunicorn.error", "gunicorn.access", "werkzeug")
Event = MutableMapping[str, Any]


@functools.cache
def service_version() -> str:
    """The release that runs."""
    try:
        return metadata.version("smart-fitness")
    except metadata.PackageNotFoundError:
        return "unknown"


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send the logs of structlog and of the standard library to stderr as JSON lines."""
    always = {
        "service.name": service,
        "service.version": service_version(),
        "event.dataset": f"{service}.log",
        "ecs.version": ecs.VERSION,
    }

    def render(_: Any, __: str, event: Event) -> str:
        return json.dumps(line(event, always), ensure_ascii=False)

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_trace,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _mark_foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _SPEAK_FOR_THEMSELVES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def line(event: Event, always: MutableMapping[str, Any]) -> dict[str, Any]:
    """A line of the log: what an event says, redacted, under its fields in the Elastic Common Schema."""
    said = dict(event)
    text = redact_text(str(said.pop("event", "")))
    fields: dict[str, Any] = {
        "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "log.level": said.pop("level", "info"),
        "message": text,
        "log.logger": said.pop("logger", None),
        "event.action": None if said.pop(_FOREIGN, False) else text[: ecs.LONGEST_KEYWORD],
        **{name: said.pop(name, None) for name in ("trace.id", "span.id")},
        **always,
    }
    error = _exception(said.pop("exc_info", None))
    fields |= ecs.placed(redact(said))
    if error is not None:
        fields |= {name: redact_text(value) for name, value in ecs.of_exception(error).items()}
    return {name: value for name, value in fields.items() if value is not None}


_FOREIGN = "_foreign"


def _mark_foreign(_: Any, __: str, event: Event) -> Event:
    """A line of the standard library is a sentence, no name of an event."""
    event[_FOREIGN] = True
    return event


def _add_trace(_: Any, __: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace.id"] = format(context.trace_id, "032x")
        event["span.id"] = format(context.span_id, "016x")
    return event


def _exception(given: Any) -> BaseException | None:
    """The exception that `exc_info` means: itself, its triple, or the one being handled."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exception() if given else None


def _uncaught(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit) or error is None:
        return
    structlog.get_logger("uncaught").critical("uncaught", exc_info=error)


def gunicorn_logger(service: str, level: str) -> type[Any]:
    """gunicorn's `logger_class`: what its master says is a line like all others, before there is an application as well."""
    from gunicorn.glogging import Logger  # type: ignore[import-untyped]

    class JsonLogger(Logger):  # type: ignore[misc]
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            configure_logging(service, level)

    return JsonLogger
