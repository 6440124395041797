"""What the outbox and the inbox of a domain still say of a member who was erased.

They keep events for a while after they were sent and handled; some of them say what a member wrote, or where they went. A
subscriber of the erasure calls this beside its own forgetting. What is still to be sent or handled stays, since others wait
for it: it says that things were removed, or meets the tombstone.
"""

from sqlalchemy import String, cast, delete, update
from sqlalchemy.orm import Session

from platform_api.core.models import IdempotencyKey, InboxEvent, OutboxEvent


def forget_messages(session: Session, member_id: str) -> None:
    """Delete sent events that name the member, and empty handled ones: that they came must stay known.

    Kept answers to requests of the member go as well.
    """
    session.execute(
        delete(OutboxEvent).where(
            OutboxEvent.sent_at.is_not(None),
            cast(OutboxEvent.envelope, String).contains(member_id, autoescape=True),
        )
    )
    session.execute(
        update(InboxEvent)
        .where(InboxEvent.status == "done", cast(InboxEvent.envelope, String).contains(member_id, autoescape=True))
        .values(envelope={})
    )
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == member_id))
