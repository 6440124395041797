"""Requests and answers of what operators see in every domain."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_dump, validate, validates_schema

from platform_api.core.models import InboxEvent
from platform_api.core.schemas import Moment, PageQuery, Strict, page_of
from platform_api.core.telemetry.redaction import redact_text

TYPE = validate.Regexp(r"^[a-z]{1,32}\.[A-Za-z]{1,64}\Z", error="Not a type of event.")
ACTION = validate.Regexp(r"^[a-z][a-z_]{0,63}\.[a-z_]{0,63}\Z", error="Not an action.")
NAME = [validate.Length(min=1, max=200), validate.Regexp(r"\A[^\x00]*\Z", error="No NUL.")]


class EventsStanding(Schema):
    """How the domain stands with its events."""

    unsent = fields.Integer(metadata={"description": "Events of its own that are not published yet."})
    unsent_oldest_s = fields.Float(metadata={"description": "Age of the oldest of them: the lag."})
    pending = fields.Integer(metadata={"description": "Events it has heard and not handled."})
    pending_oldest_s = fields.Float(metadata={"description": "For how long the oldest of them waits."})
    dead_letters = fields.Integer(metadata={"description": "Events that no handler could take."})
    unreadable = fields.Integer(
        allow_none=True,
        metadata={"description": "In the broker's own dead-letter queue; null: it cannot be asked now."},
    )


class DeadLetterSchema(Schema):
    """An event that came to a stop, without what it says."""

    event_id = fields.String()
    type = fields.String()
    subject = fields.String(allow_none=True, metadata={"description": "Id of what it is about."})
    status = fields.String(validate=validate.OneOf(("pending", "done", "dead")))
    received_at = fields.AwareDateTime()
    attempts = fields.Integer()
    error = fields.String(allow_none=True)

    @pre_dump
    def told(self, row: InboxEvent, **_: Any) -> dict[str, Any]:
        """As it lies in the inbox."""
        subject = row.envelope.get("subject")
        return {
            "event_id": str(row.event_id), "type": row.type, "subject": subject if isinstance(subject, str) else None,
            "status": row.status, "received_at": row.received_at, "attempts": row.attempts,
            "error": redact_text(row.last_error) if row.last_error else None,
        }  # fmt: skip


DeadLetterPage = page_of(DeadLetterSchema, "DeadLetterPage")


class DeadLetterQuery(PageQuery):
    """Which dead letters."""

    type = fields.String(load_default=None, validate=TYPE)


class Replay(Strict):
    """POST /operations/dead-letters/replay."""

    type = fields.String(
        allow_none=True, load_default=None, validate=TYPE, metadata={"description": "Those of a type; null: all."}
    )


class Replayed(Schema):
    """How many will be handled again."""

    replayed = fields.Integer()


class ActQuery(PageQuery):
    """Which acts."""

    actor = fields.String(load_default=None, validate=NAME, metadata={"description": "Id of who did it, or system."})
    action = fields.String(
        load_default=None, validate=ACTION, metadata={"description": "noun.verb; noun. for all that was done to such."}
    )
    target = fields.String(load_default=None, validate=NAME, metadata={"description": "Id of what it was done to."})
    since = Moment(data_key="from", load_default=None)
    until = Moment(data_key="to", load_default=None)

    @validates_schema
    def in_order(self, data: dict[str, Any], **_: Any) -> None:
        """A time ends after it begins."""
        if data.get("since") and data.get("until") and data["since"] >= data["until"]:
            raise ValidationError("Not after from.", "to")


class ActSchema(Schema):
    """A row of the audit trail."""

    position = fields.Integer()
    at = fields.AwareDateTime()
    actor = fields.String()
    action = fields.String()
    target = fields.String()
    details = fields.Dict(metadata={"description": "Without secrets."})
    request_id = fields.String(allow_none=True)


ActPage = page_of(ActSchema, "ActPage")
