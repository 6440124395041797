"""The queue of deliveries: taking one, settling what became of it, and what operators see of it.

A delivery is taken by FOR UPDATE SKIP LOCKED and stays locked until it is settled, in one transaction: two senders never
have the same one, and when a sender dies its lock dies with it. What a channel took in the moment before the death is sent
again, under the same id; neither push services nor SMTP have a way to ask.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.encryption import DecryptionError
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.notification import announcing, devices, preferences, vault
from platform_api.notification.channels import Away, Later, Outcome, Outgoing, Sent
from platform_api.notification.kinds import CODE
from platform_api.notification.models import Delivery, Device, EmailAddress, Member, Notification, Preference
from platform_api.notification.rendering import Reader, email_footer, render
from platform_api.notification.settings import CHANNELS, settings

STATES = ("queued", "sent", "failed", "dropped")
FIRST_WAIT_S = {True: 1.0, False: 10.0}
LONGEST_WAIT_S = {True: 60.0, False: 900.0}


@dataclass(frozen=True)
class Taken:
    """A delivery in hand."""

    delivery: Delivery
    notification: Notification


def take(session: Session, channel: str, urgent_only: bool) -> Taken | None:
    """The delivery of a channel that is due and most urgent, locked; None where there is none."""
    query = select(Delivery).where(
        Delivery.state == "queued", Delivery.channel == channel, Delivery.due_at <= clock.now()
    )
    if urgent_only:
        query = query.where(Delivery.urgent)
    query = query.order_by(Delivery.urgent.desc(), Delivery.due_at).limit(1).with_for_update(skip_locked=True)
    delivery = session.scalars(query).one_or_none()
    if delivery is None:
        return None
    return Taken(delivery, session.get_one(Notification, delivery.notification_id))


def prepare(session: Session, taken: Taken) -> Outgoing | None:
    """What is to be sent; None where there is no use any more, and the delivery is settled as such."""
    delivery = taken.delivery
    if delivery.expires_at <= clock.now():
        _close(delivery, "failed", "expired")
        return None
    try:
        outgoing = _email(session, taken) if delivery.channel == "email" else _push(session, taken)
    except DecryptionError:
        _close(delivery, "failed", "unreadable")
        return None
    if outgoing is None:
        _close(delivery, "dropped", "target_gone")
    return outgoing


def settle(session: Session, taken: Taken, outcome: Outcome) -> None:
    """Write down what became of it; what is to be tried again waits longer each time, or as long as the channel says."""
    delivery = taken.delivery
    if isinstance(outcome, Away):
        return
    delivery.attempts += 1
    if isinstance(outcome, Sent):
        delivery.state, delivery.sent_at, delivery.reference = "sent", clock.now(), _words(outcome.reference)
        delivery.reason = None
    elif isinstance(outcome, Later):
        delivery.reason = _words(outcome.reason)
        delivery.due_at = clock.now() + timedelta(seconds=wait_s(delivery.urgent, delivery.attempts, outcome.after_s))
    elif outcome.target_gone:
        _close(delivery, "dropped", outcome.reason)
        _forget_target(session, delivery)
    else:
        _close(delivery, "failed", outcome.reason)


def wait_s(urgent: bool, attempts: int, asked_s: float | None) -> float:
    """Seconds until the next try: exponential, half of it by chance; never sooner than the channel asks."""
    longest = min(FIRST_WAIT_S[urgent] * 2 ** min(attempts - 1, 12), LONGEST_WAIT_S[urgent])
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    return longest * spread if asked_s is None else asked_s + min(longest, 5.0) * spread


def measure(session: Session) -> dict[tuple[str, bool], tuple[int, float]]:
    """By channel and urgency: how many are due, and for how many seconds the oldest has been."""
    now = clock.now()
    query = (
        select(Delivery.channel, Delivery.urgent, func.count(), func.min(Delivery.due_at))
        .where(Delivery.state == "queued", Delivery.due_at <= now)
        .group_by(Delivery.channel, Delivery.urgent)
    )
    found = {(channel, urgent): (0, 0.0) for channel in CHANNELS for urgent in (True, False)}
    for channel, urgent, count, oldest in session.execute(query):
        found[channel, urgent] = count, (now - oldest).total_seconds()
    return found


def listed(
    session: Session,
    *,
    member_id: str | None,
    state: str | None,
    channel: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Delivery], str | None]:
    """Deliveries, newest first."""
    query = select(Delivery)
    for column, wanted in ((Delivery.member_id, member_id), (Delivery.state, state), (Delivery.channel, channel)):
        if wanted is not None:
            query = query.where(column == wanted)
    return page(session, query, [Delivery.delivery_id], cursor, limit)


def retry(session: Session, who: Principal, delivery_id: str) -> Delivery:
    """Queue once more what was given up.

    Raises:
        Problem: 404; 409 `not_failed`.
    """
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None:
        raise Problem(404)
    if delivery.state != "failed":
        raise Problem(409, "not_failed", "실패한 발송만 다시 보낼 수 있습니다.", "Only what failed can be sent again.")
    now = clock.now()
    delivery.state, delivery.due_at, delivery.attempts, delivery.reason = "queued", now, 0, None
    delivery.expires_at = now + settings().keep_trying(delivery.urgent)
    audit.record(session, who.id, "delivery.retry", delivery_id)
    announcing.wake(session)
    session.flush()
    return delivery


def _push(session: Session, taken: Taken) -> Outgoing | None:
    device = session.get(Device, taken.delivery.device_id)
    if device is None or device.member_id != taken.delivery.member_id:
        return None
    token = vault.unseal(device.token_sealed, "device", device.device_id)
    return _outgoing(taken, taken.notification.title, taken.notification.body, "", token)


def _email(session: Session, taken: Taken) -> Outgoing | None:
    member_id = taken.delivery.member_id
    kept, member = session.get(EmailAddress, member_id), session.get(Member, member_id)
    if kept is None or member is None or kept.bounced_at is not None:
        return None
    reader = preferences.of(member, session.get(Preference, member_id)).reader
    address = vault.unseal(kept.address_sealed, "email", member_id)
    if taken.notification.kind == CODE.name:
        body = _code(kept, reader)
        return None if body is None else _outgoing(taken, taken.notification.title, body, "", address)
    if kept.verified_at is None:
        return None
    footer = email_footer(reader.language)
    return _outgoing(taken, taken.notification.title, taken.notification.body, footer, address)


def _code(kept: EmailAddress, reader: Reader) -> str | None:
    now = clock.now()
    if kept.code_sealed is None or kept.code_until is None or kept.code_until <= now:
        return None
    code = vault.unseal(kept.code_sealed, "code", kept.member_id)
    return render("email_code", reader, {"code": code, "minutes": _minutes(kept.code_until, now)})[1]


def _minutes(until: datetime, now: datetime) -> int:
    return max(1, round((until - now).total_seconds() / 60))


def _outgoing(taken: Taken, title: str, body: str, footer: str, target: str) -> Outgoing:
    return Outgoing(
        delivery_id=taken.delivery.delivery_id,
        notification_id=taken.notification.notification_id,
        kind=taken.notification.kind,
        urgent=taken.delivery.urgent,
        title=title,
        body=body,
        footer=footer,
        data={name: str(value) for name, value in taken.notification.data.items()},
        target=target,
        expires_at=taken.delivery.expires_at,
    )


def _forget_target(session: Session, delivery: Delivery) -> None:
    if delivery.channel != "email":
        devices.gone(session, delivery.device_id)
        return
    kept = session.get(EmailAddress, delivery.member_id)
    if kept is not None:
        kept.bounced_at = clock.now()
        audit.record(session, "system", "email.bounced", delivery.member_id)


def _close(delivery: Delivery, state: str, reason: str) -> None:
    delivery.state, delivery.reason = state, _words(reason)


def _words(said: str) -> str:
    """What a channel said, as a database can hold it: failing to write it down would send the message again."""
    return said.encode("utf-8", "replace").decode().replace("\0", "?")[:300]
