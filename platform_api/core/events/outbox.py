"""The transactional outbox (Richardson, "Microservices Patterns", chapter 3): an event is kept with the work that
caused it, and published afterwards by a relay, so that neither can be lost without the other.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from platform_api.core.events.envelope import Event
from platform_api.core.models import OutboxEvent

CHANNEL = "smartfit_outbox"


def publish(session: Session, type: str, subject: str, version: int, data: dict[str, Any]) -> Event:
    """Write an event into the outbox, in the caller's transaction; relays are woken when it commits.

    Args:
        type: `<domain>.<Name>`, with a schema in events/schemas.
        subject: id of the aggregate.
        version: of the aggregate, after the change.

    Raises:
        InvalidEvent: the transaction should fail with it.
    """
    event = Event.new(type, subject, version, data)
    event.to_bytes()  # what could not be sent must not be kept to be sent
    session.add(OutboxEvent(event_id=event.id, type=event.type, envelope=event.to_json()))
    session.flush()
    session.execute(text(f"NOTIFY {CHANNEL}"))
    return event
