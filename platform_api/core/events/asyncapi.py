"""The AsyncAPI 3.0 document of all events: made from their JSON Schemas and from who hears them.

The document in the repository is checked to be current by the tests; `smartfit events schema` prints it.
"""

import copy
from typing import Any

from platform_api.core.events.bus.rabbitmq import EXCHANGE
from platform_api.core.events.envelope import TYPE_PREFIX, event_types, validator
from platform_api.core.events.lanes import lane
from platform_api.core.events.registry import subscribers

_ENVELOPE = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "format": "uuid", "description": "UUIDv7, unique for ever; the key of the inbox."},
    "source": {"type": "string", "description": "/smartfitness/<domain>"},
    "subject": {"type": "string", "description": "Id of the aggregate."},
    "time": {"type": "string", "format": "date-time"},
    "datacontenttype": {"const": "application/json"},
    "sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "Version of the aggregate; higher is newer."},
    "traceparent": {"type": "string", "description": "W3C trace context."},
}


def document() -> dict[str, Any]:
    """The whole document. The domains' `events` modules must have been imported, or nobody seems to hear anything."""
    types = event_types()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Smart Fitness events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in JSON, delivered at least once, handled once (outbox and inbox).",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {type: _channel(type) for type in types},
        "operations": {**_sending(types), **_receiving(types)},
        "components": {"messages": {type: _message(type) for type in types}},
    }


def _channel(type: str) -> dict[str, Any]:
    heard = subscribers(type)
    return {
        "address": type,
        "description": f"Lane {lane(type)}. Heard by: {', '.join(heard) if heard else 'nobody yet'}.",
        "messages": {"event": {"$ref": f"#/components/messages/{type}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": {"name": EXCHANGE, "type": "topic", "durable": True}}},
    }


def _sending(types: list[str]) -> dict[str, Any]:
    return {f"publish.{type}": _operation("send", type, f"{type} by {type.partition('.')[0]}") for type in types}


def _receiving(types: list[str]) -> dict[str, Any]:
    heard = [(type, subscriber) for type in types for subscriber in subscribers(type)]
    return {
        f"receive.{subscriber}.{type}": _operation("receive", type, f"{type} heard by {subscriber}")
        for type, subscriber in heard
    }


def _operation(action: str, type: str, title: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{type}"},
        "title": title,
        "messages": [{"$ref": f"#/channels/{type}/messages/event"}],
    }


def _message(type: str) -> dict[str, Any]:
    data = copy.deepcopy(dict(validator(type).schema))
    for internal in ("$schema", "$id", "x-lane"):
        data.pop(internal, None)
    properties = {**_ENVELOPE, "type": {"const": TYPE_PREFIX + type}, "data": data}
    required = [name for name in properties if name != "traceparent"]
    return {
        "name": type,
        "title": str(data.get("title", type)),
        "payload": {"type": "object", "properties": properties, "required": sorted(required)},
    }
