"""Spans of events on their way, by OpenTelemetry's conventions for messaging (schema 1.44.0, "in development" there).

A relay sends an event within a PRODUCER span, whose parent is what published it; the event carries that span's context on, in
its envelope, since it may wait in an inbox and be tried again. Whoever handles it does so in a CONSUMER span, whose parent is
the PRODUCER span: one event is one message, and so all is one trace.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from opentelemetry.trace import SpanKind

from platform_api.core.events.envelope import Event
from platform_api.core.telemetry.tracing import current_traceparent, failed, span, start_span, traceparent_of

_LOST = ConnectionError()


@contextlib.contextmanager
def sending(event: Event, system: str, destination: str) -> Iterator[Event]:
    """Yields the event as it is to be sent."""
    attributes = _attributes("send", system, destination, str(event.id), event.type)
    with span(f"send {destination}", SpanKind.PRODUCER, traceparent=event.traceparent, attributes=attributes):
        yield dataclasses.replace(event, traceparent=current_traceparent() or event.traceparent)


@contextlib.contextmanager
def sending_all(
    events: Sequence[Event],
    system: str,
    destination: Callable[[Event], str],
    outcomes: Mapping[UUID, Exception | None],
) -> Iterator[list[Event]]:
    """Yields the events as they are to be sent; each has a span of its own, all of them at once.

    Args:
        outcomes: at the end, what came of each; one that is missing was lost on its way.
    """
    spans = [
        start_span(
            f"send {destination(event)}",
            SpanKind.PRODUCER,
            traceparent=event.traceparent,
            attributes=_attributes("send", system, destination(event), str(event.id), event.type),
        )
        for event in events
    ]
    try:
        yield [
            dataclasses.replace(event, traceparent=traceparent_of(span) or event.traceparent)
            for event, span in zip(events, spans, strict=True)
        ]
    finally:
        for event, span in zip(events, spans, strict=True):
            error = outcomes.get(event.id, _LOST)
            if error is not None:
                failed(error, span)
            span.end()


@contextlib.contextmanager
def processing(id: str, type: str, traceparent: str | None, system: str, destination: str) -> Iterator[None]:
    """The handling of the event with that id, type and traceparent, come by that way."""
    attributes = _attributes("process", system, destination, id, type)
    with span(f"process {destination}", SpanKind.CONSUMER, traceparent=traceparent, attributes=attributes):
        yield


def _attributes(operation: str, system: str, destination: str, id: str, type: str) -> dict[str, str | int]:
    return {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
        "messaging.message.id": id,
        "cloudevents.event_type": type,
    }
