"""How a domain stands with its events: what waits to be sent, what waits to be handled, what came to a stop.

`smartfit events` and the API ask and act by the same functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from pika.exceptions import AMQPError
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.events import inbox, relay
from platform_api.core.events.bus import rabbitmq
from platform_api.core.models import InboxEvent
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.core.settings import read_variable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Standing:
    """Of one domain.

    Attributes:
        unsent, unsent_oldest_s: events of its own that no relay has published yet, and the age of the oldest.
        pending, pending_oldest_s: events it has heard and not handled, and for how long the oldest waits.
        dead_letters: events that no handler could take.
        unreadable: what lies in the broker's own dead-letter queue; None where the broker cannot be asked now.
    """

    unsent: int
    unsent_oldest_s: float
    pending: int
    pending_oldest_s: float
    dead_letters: int
    unreadable: int | None


def standing(session: Session, domain: str) -> Standing:
    """How `domain` stands now."""
    unsent, unsent_oldest_s = relay.waiting(session)
    heard = inbox.waiting(session, domain)
    try:
        unreadable: int | None = at_broker(domain, rabbitmq.dead_messages)
    except (AMQPError, OSError) as error:
        log.warning("broker_away", domain=domain, error=error.__class__.__name__)
        unreadable = None
    return Standing(unsent, unsent_oldest_s, heard.pending, heard.oldest_s, heard.dead, unreadable)


def at_broker(subscriber: str, ask: Callable[[str, str], int]) -> int:
    """What `ask` answers of a subscriber's dead-letter queue; 0 where no broker is used.

    Raises:
        AMQPError, OSError: the broker is away.
    """
    url = read_variable("SMARTFIT_RABBITMQ_URL")
    return ask(url, subscriber) if url else 0


def letters(
    session: Session, domain: str, *, type: str | None, cursor: str | None, limit: int
) -> tuple[list[InboxEvent], str | None]:
    """Dead letters of `domain`, the last received first, and the cursor of the next page."""
    query = select(InboxEvent).where(InboxEvent.subscriber == domain, InboxEvent.status == "dead")
    if type is not None:
        query = query.where(InboxEvent.type == type)
    return page(session, query, [InboxEvent.position], cursor, limit)


def replay_one(session: Session, caller: Principal, domain: str, event_id: str) -> InboxEvent:
    """Give one dead letter another run. One that has had it already stays as it is.

    Raises:
        Problem: 404 `event_not_found`.
    """
    row = session.get(InboxEvent, (found, domain)) if (found := _uuid(event_id)) else None
    if row is None:
        raise Problem(404, "event_not_found", "이 도메인이 받은 이벤트가 아닙니다.", "No event this domain has heard.")
    if inbox.replay(session, domain, event_id=row.event_id):
        audit.record(session, caller.id, "dead_letter.replay", str(row.event_id), {"type": row.type})
        session.refresh(row)
    return row


def replay_all(session: Session, caller: Principal, domain: str, type: str | None) -> int:
    """Give all dead letters, or those of a type, another run. Returns how many there were.

    Raises:
        Problem: 503, nothing is replayed: the broker is away.
    """
    count = inbox.replay(session, domain, type=type)
    if type is None:
        try:
            count += at_broker(domain, rabbitmq.replay_dead)
        except (AMQPError, OSError) as error:
            log.warning("broker_away", domain=domain, error=error.__class__.__name__)
            raise Problem(503, headers={"Retry-After": "5"}, service="rabbitmq") from error
    if count:
        audit.record(session, caller.id, "dead_letter.replay", domain, {"type": type, "count": count})
    return count


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
