"""The envelope of an event: CloudEvents 1.0 (https://github.com/cloudevents/spec), JSON format.

`sequence` is the CloudEvents extension of that name and holds the version of the aggregate, by which a handler
tells a late event from a new one; `traceparent` is the distributed tracing extension.
"""

import functools
import json
import re
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator
from uuid_utils.compat import uuid7

from platform_api.core import clock
from platform_api.core.telemetry.tracing import current_traceparent

TYPE_PREFIX = "smartfitness."
_TYPE = re.compile(r"[a-z]+\.[A-Z][A-Za-z0-9]*")


MOST_BYTES = 512 * 1024
"""Of a document. The usual event has one thousandth of it; a broker lets a little more pass (max_message_size), and a consumer
holds as many as it prefetches."""


class InvalidEvent(Exception):
    """The event does not fit its JSON Schema, or has none, or is too large."""


@dataclass(frozen=True)
class Event:
    """An event as producers and handlers see it.

    Attributes:
        id: UUIDv7, unique for ever.
        type: `<domain>.<Name>`.
        subject: id of the aggregate, e.g. the member.
        version: of the aggregate, counting up with each of its events.
        time: when it happened, UTC.
        data: fits the schema of the type; never a face, a template, a token or a phone number.
    """

    id: UUID
    type: str
    subject: str
    version: int
    time: datetime
    data: dict[str, Any]
    traceparent: str | None = None

    @classmethod
    def new(cls, type: str, subject: str, version: int, data: dict[str, Any]) -> "Event":
        """An event that happens now.

        Raises:
            InvalidEvent: the data does not fit the schema of the type.
        """
        check(type, data)
        return cls(uuid7(), type, subject, version, clock.now(), data, current_traceparent())

    @property
    def domain(self) -> str:
        """The domain that owns the event."""
        return self.type.partition(".")[0]

    def to_bytes(self) -> bytes:
        """The document as it is sent.

        Raises:
            InvalidEvent: it is larger than MOST_BYTES.
        """
        body = json.dumps(self.to_json(), ensure_ascii=False).encode()
        if len(body) > MOST_BYTES:
            raise InvalidEvent(f"{self.type}: {len(body):,} bytes, at most {MOST_BYTES:,} can be sent")
        return body

    def to_json(self) -> dict[str, Any]:
        """The CloudEvents document."""
        document: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(self.id),
            "source": f"/smartfitness/{self.domain}",
            "type": TYPE_PREFIX + self.type,
            "subject": self.subject,
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "sequence": str(self.version),
            "data": self.data,
        }
        if self.traceparent:
            document["traceparent"] = self.traceparent
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Event":
        """Read a CloudEvents document.

        Raises:
            InvalidEvent: it is not one of ours.
        """
        try:
            if document["specversion"] != "1.0" or not document["type"].startswith(TYPE_PREFIX):
                raise InvalidEvent(f"not an event of this platform: {document.get('type')!r}")
            event = cls(
                id=UUID(document["id"]),
                type=document["type"].removeprefix(TYPE_PREFIX),
                subject=str(document["subject"]),
                version=int(document["sequence"]),
                time=datetime.fromisoformat(document["time"]),
                data=document["data"],
                traceparent=document.get("traceparent"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidEvent(f"not a CloudEvents document: {error!r}") from error
        if event.time.tzinfo is None:
            raise InvalidEvent(f"time without a zone: {document['time']!r}")
        check(event.type, event.data)
        return event


@functools.cache
def validator(type: str) -> Draft202012Validator:
    """The compiled schema of an event type.

    Raises:
        InvalidEvent: there is no such schema.
    """
    if not _TYPE.fullmatch(type):
        raise InvalidEvent(f"not the name of an event: {type[:100]!r}")
    source = resources.files("platform_api.core.events") / "schemas" / f"{type}.json"
    try:
        schema = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidEvent(f"no schema for event {type}") from error
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def event_types() -> list[str]:
    """All event types that have a schema."""
    folder = resources.files("platform_api.core.events") / "schemas"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def check(type: str, data: dict[str, Any]) -> None:
    """Raise InvalidEvent unless `data` fits the schema of `type`."""
    errors = [f"{'/'.join(map(str, e.absolute_path)) or '.'}: {e.message}" for e in validator(type).iter_errors(data)]
    if errors:
        raise InvalidEvent(f"{type}: " + "; ".join(errors[:5]))
