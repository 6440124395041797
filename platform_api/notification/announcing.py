"""Telling members of something, once each: what they read, and how it goes out.

(event, recipient) is unique, so an event that comes twice tells nobody twice. Everything is written in the caller's
transaction; the senders are woken when it commits.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.models import new_id
from platform_api.notification import audience, floods
from platform_api.notification.audience import Recipient
from platform_api.notification.floods import Topic
from platform_api.notification.kinds import Kind
from platform_api.notification.models import Delivery, Flood, Notification
from platform_api.notification.rendering import Value, render
from platform_api.notification.settings import settings

CHANNEL = "smartfit_notification"
BATCH = 500


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


@dataclass(frozen=True)
class Order:
    """That a notification is to go out at `due_at` by `channels`; a push of a kind that waits, after quiet hours."""

    notification: Notification
    kind: Kind
    recipient: Recipient
    due_at: datetime
    channels: Collection[str]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Its deliveries."""
        known = {
            "notification_id": self.notification.notification_id,
            "member_id": self.notification.member_id,
            "urgent": self.notification.urgent,
            "state": "queued",
            "attempts": 0,
            "created_at": clock.now(),
        }
        expires = settings().keep_trying(self.notification.urgent)
        quiet_ends = self.recipient.wishes.quiet_ends(self.due_at) if self.kind.waits else None
        at = quiet_ends or self.due_at
        for device_id, channel in self.recipient.devices:
            if channel in self.channels:
                target = {"channel": channel, "device_id": device_id, "due_at": at, "expires_at": at + expires}
                yield {**known, **target, "delivery_id": new_id()}
        if "email" in self.channels:
            at = self.due_at
            target = {"channel": "email", "device_id": "", "due_at": at, "expires_at": at + expires}
            yield {**known, **target, "delivery_id": new_id()}


def announce(session: Session, what: Announcement, member_ids: Collection[str]) -> list[str]:
    """Tell those of `member_ids` who are known, have not been told already, and want to hear of it. Returns who is told."""
    told: list[str] = []
    for recipients in _batches(_willing(session, what, member_ids), BATCH):
        told += _tell(session, what, recipients)
    if told:
        wake(session)
    return told


def wake(session: Session) -> None:
    """Wake the senders once the transaction is kept."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


def queue(session: Session, orders: Sequence[Order]) -> None:
    """Queue deliveries of notifications, one for each device and address."""
    rows = [row for order in orders for row in order.rows()]
    if rows:
        session.execute(insert(Delivery), rows)


def _willing(session: Session, what: Announcement, member_ids: Collection[str]) -> Iterator[Recipient]:
    for recipient in audience.of(session, member_ids):
        if recipient.member.status != "active" and not what.suspended_too:
            continue
        if what.kind.stored or recipient.wishes.channels(what.kind):
            yield recipient


def _tell(session: Session, what: Announcement, recipients: Sequence[Recipient]) -> list[str]:
    now = clock.now()
    texts = {each.member_id: render(what.template, each.wishes.reader, what.values) for each in recipients}
    new = _written(session, what, texts, what.key, hidden=False)
    if what.silent:
        return list(new)
    sending = [each for each in recipients if each.member_id in new and each.channels(what.kind)]
    members = [each.member_id for each in sending]
    held = floods.count(session, members, what.topic, now) if what.topic is not None else {}
    queue(
        session,
        [
            Order(new[each.member_id], what.kind, each, now, each.channels(what.kind))
            for each in sending
            if each.member_id not in held
        ],
    )
    for each in sending:
        if what.topic is not None and each.member_id in held:
            _hold_back(session, what, what.topic, each, held[each.member_id], new[each.member_id])
    return list(new)


def _hold_back(
    session: Session, what: Announcement, topic: Topic, recipient: Recipient, flood: Flood, notification: Notification
) -> None:
    text = floods.describe(flood, topic, recipient.wishes.reader, what.values)
    digest = session.get(Notification, flood.digest_id) if flood.digest_id is not None else None
    if digest is None:
        key = f"digest:{topic.key}:{flood.window_until.isoformat()}"
        digest = _written(session, what, {recipient.member_id: text}, key, hidden=True)[recipient.member_id]
        flood.digest_id = digest.notification_id
        channels = recipient.channels(what.kind)
        queue(session, [Order(digest, what.kind, recipient, flood.window_until, channels)])
    digest.title, digest.body = text
    notification.digest_id = digest.notification_id


def _written(
    session: Session, what: Announcement, texts: Mapping[str, tuple[str, str]], key: str, hidden: bool
) -> dict[str, Notification]:
    """Write what members read, by member; those who have been told of `key` already are left out."""
    if not texts:
        return {}
    same = {
        "event_key": key,
        "kind": what.kind.name,
        "urgent": what.kind.urgent,
        "hidden": hidden,
        "data": dict(what.data),
        "occurred_at": what.occurred_at,
        "created_at": clock.now(),
    }
    rows = [
        {**same, "notification_id": new_id(), "member_id": member_id, "title": title, "body": body}
        for member_id, (title, body) in texts.items()
    ]
    statement = insert(Notification).on_conflict_do_nothing(
        index_elements=[Notification.event_key, Notification.member_id]
    )
    return {row.member_id: row for row in session.scalars(statement.returning(Notification), rows)}


def _batches(recipients: Iterable[Recipient], size: int) -> Iterator[list[Recipient]]:
    iterator = iter(recipients)
    while batch := list(islice(iterator, size)):
        yield batch
