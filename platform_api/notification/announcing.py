"""Telling members of something, once each: what they read, and how it goes out.

(event, recipient) is unique, so an event that comes twice tells nobody twice. Everything is written in the caller's
transaction; the senders are woken when it commits.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.models import new_id
from platform_api.notification import audience, floods
from platform_api.notification.audience import Recipient
from platform_api.notification.floods import Topic
from platform_api.notification.kinds import Kind
from platform_api.notification.models import Delivery, Notification
from platform_api.notification.rendering import Value, render
from platform_api.notification.settings import settings

CHANNEL = "smartfit_notification"


@dataclass(frozen=True)
class Announcement:
    """What is to be told.

    Attributes:
        key: id of the event, or what stands for it.
        template, values: the words.
        data: for the app: ids of what it is about. Text alone.
        topic: what it counts with against floods; None: it is never held back.
        silent: it stands in the history and is not sent.
        suspended_too: suspended members are told as well.
    """

    key: str
    kind: Kind
    template: str
    values: Mapping[str, Value]
    data: Mapping[str, str]
    occurred_at: datetime
    topic: Topic | None = None
    silent: bool = False
    suspended_too: bool = False
    hidden: bool = field(default=False)


def announce(session: Session, what: Announcement, member_ids: Collection[str]) -> list[str]:
    """Tell those of `member_ids` who are known, have not been told already, and want to hear of it. Returns who is told."""
    now = clock.now()
    told = []
    for recipient in audience.of(session, member_ids):
        if recipient.member.status != "active" and not what.suspended_too:
            continue
        if not what.kind.stored and not recipient.wishes.channels(what.kind):
            continue
        if _tell(session, what, recipient, now):
            told.append(recipient.member.member_id)
    if told:
        wake(session)
    return told


def wake(session: Session) -> None:
    """Wake the senders once the transaction is kept."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def queue(
    session: Session, what: Notification, kind: Kind, recipient: Recipient, due_at: datetime, channels: Collection[str]
) -> None:
    """Queue the deliveries of a notification; a push waits for the end of quiet hours, where its kind does."""
    expires = settings().keep_trying(what.urgent)
    quiet_ends = recipient.wishes.quiet_ends(due_at) if kind.waits else None
    targets = [("push", device_id, quiet_ends or due_at) for device_id in recipient.device_ids if "push" in channels]
    if "email" in channels:
        targets.append(("email", "", due_at))
    for channel, device_id, at in targets:
        session.add(
            Delivery(
                notification_id=what.notification_id,
                member_id=what.member_id,
                channel=channel,
                device_id=device_id,
                urgent=what.urgent,
                due_at=at,
                expires_at=at + expires,
            )
        )


def _tell(session: Session, what: Announcement, recipient: Recipient, now: datetime) -> bool:
    title, body = render(what.template, recipient.wishes.reader, what.values)
    notification = _written(session, what, recipient.member.member_id, what.key, title, body, what.hidden)
    if notification is None:
        return False
    channels = recipient.wishes.channels(what.kind) & settings().channels
    if not recipient.has_address:
        channels -= {"email"}
    if what.silent or not channels:
        return True
    flood = floods.count(session, recipient.member.member_id, what.topic, now) if what.topic is not None else None
    if flood is None or what.topic is None:
        queue(session, notification, what.kind, recipient, now, channels)
        return True
    title, body = floods.describe(flood, what.topic, recipient.wishes.reader, what.values)
    digest = floods.digest_of(session, flood)
    if digest is None:
        key = f"digest:{what.topic.key}:{flood.window_until.isoformat()}"
        digest = _written(session, what, recipient.member.member_id, key, title, body, hidden=True)
        assert digest is not None, "a window has one digest"
        flood.digest_id = digest.notification_id
        queue(session, digest, what.kind, recipient, flood.window_until, channels)
    digest.title, digest.body = title, body
    notification.digest_id = digest.notification_id
    return True


def _written(
    session: Session, what: Announcement, member_id: str, key: str, title: str, body: str, hidden: bool
) -> Notification | None:
    statement = insert(Notification).values(
        notification_id=new_id(),
        event_key=key,
        member_id=member_id,
        kind=what.kind.name,
        urgent=what.kind.urgent,
        hidden=hidden,
        title=title,
        body=body,
        data=dict(what.data),
        occurred_at=what.occurred_at,
        created_at=clock.now(),
    )
    statement = statement.on_conflict_do_nothing(index_elements=[Notification.event_key, Notification.member_id])
    return session.scalars(statement.returning(Notification)).one_or_none()
