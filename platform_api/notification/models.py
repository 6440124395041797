"""Tables of the notification domain.

Copies of members and branches carry the version they were heard at, so that events may come late, twice or out of order.
A notification is what one member is told of one thing; its deliveries say how that goes on each channel.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id
from platform_api.core.telemetry import current_traceparent


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Member(Base):
    """This domain's copy of a member. Version 0: named here before it was heard of. With `erased_at`: a tombstone."""

    __tablename__ = "member"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    roles: Mapped[list[str]]
    language: Mapped[str] = mapped_column(default="ko")
    status: Mapped[str] = mapped_column(default="active")
    version: Mapped[int] = mapped_column(default=0)
    erased_at: Mapped[datetime | None]


class Branch(Base):
    """This domain's copy of a branch. `facts`: what its members are told when it changes."""

    __tablename__ = "branch"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    name_en: Mapped[str | None]
    status: Mapped[str]
    manager_ids: Mapped[list[str]]
    facts: Mapped[dict[str, Any]]
    version: Mapped[int]


class BranchCharacter(Base):
    """What was last heard of the kind of place a branch is, and its strong points as they were last told."""

    __tablename__ = "branch_character"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    strong: Mapped[list[str]]


class Regular(Base):
    """A member who comes to a branch often, and so is told its news."""

    __tablename__ = "regular"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[str] = mapped_column(primary_key=True, index=True)


class Device(Base):
    """An app or a browser that takes push messages.

    `kind`: `fcm`, known by a registration token, or `webpush`, by a subscription. Either is sealed; `token_sha256`, of the
    token or of the subscription's endpoint, finds it again.
    """

    __tablename__ = "device"
    __table_args__ = (Index("ix_device_member_id_device_id", "member_id", "device_id"),)

    device_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    member_id: Mapped[str]
    kind: Mapped[str] = mapped_column(default="fcm")
    token_sha256: Mapped[str] = mapped_column(unique=True)
    token_sealed: Mapped[bytes]
    platform: Mapped[str]
    name: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)


class Preference(Base):
    """How a member wants to be told. `kinds` holds what differs from the defaults: {kind: {push, email}}."""

    __tablename__ = "preference"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    language: Mapped[str | None]
    timezone: Mapped[str]
    quiet_from: Mapped[str | None]
    quiet_until: Mapped[str | None]
    kinds: Mapped[dict[str, Any]]
    version: Mapped[int] = mapped_column(default=1)


class EmailAddress(Base):
    """A member's e-mail address, sealed. It is used once a code sent there has come back."""

    __tablename__ = "email_address"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    address_sealed: Mapped[bytes]
    address_hash: Mapped[str] = mapped_column(index=True)
    hint: Mapped[str]
    verified_at: Mapped[datetime | None]
    bounced_at: Mapped[datetime | None]
    code_sealed: Mapped[bytes | None]
    code_until: Mapped[datetime | None]
    code_tries: Mapped[int] = mapped_column(default=0)


class CodeSent(Base):
    """That a code was sent: what the limits count."""

    __tablename__ = "code_sent"
    __table_args__ = (Index("ix_code_sent_address_hash_at", "address_hash", "at"),)

    code_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    member_id: Mapped[str] = mapped_column(index=True)
    address_hash: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now, index=True)


class Notification(Base):
    """What one member is told of one thing, once: (event_key, member_id) is unique.

    `event_key`: id of the event, or what stands for one (an escalation, a digest). `hidden`: no part of the history (digests
    of what stands there anyway, codes). `digest_id`: it was not sent by itself; that digest stands for it.
    """

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("event_key", "member_id"),
        Index("ix_notification_member_id_notification_id", "member_id", "notification_id"),
        Index(
            "ix_notification_unread",
            "member_id",
            postgresql_where=text("read_at IS NULL AND NOT hidden"),
        ),
    )

    notification_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    event_key: Mapped[str]
    member_id: Mapped[str]
    kind: Mapped[str]
    urgent: Mapped[bool]
    hidden: Mapped[bool] = mapped_column(default=False)
    title: Mapped[str]
    body: Mapped[str]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    read_at: Mapped[datetime | None]
    digest_id: Mapped[str | None]


class Delivery(Base):
    """A notification on one channel, to one device: `queued`, then `sent`, `failed` (given up) or `dropped` (no use).

    `traceparent`: of what it tells of; sending it is part of that trace.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("notification_id", "channel", "device_id"),
        Index("ix_delivery_due", "channel", text("urgent DESC"), "due_at", postgresql_where=text("state = 'queued'")),
        Index("ix_delivery_member_id_delivery_id", "member_id", "delivery_id"),
        Index("ix_delivery_state_delivery_id", "state", "delivery_id"),
    )

    delivery_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    notification_id: Mapped[str] = mapped_column(ForeignKey("notification.notification_id", ondelete="CASCADE"))
    member_id: Mapped[str]
    channel: Mapped[str]
    device_id: Mapped[str] = mapped_column(default="")
    urgent: Mapped[bool]
    state: Mapped[str] = mapped_column(default="queued")
    due_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None]
    reference: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    traceparent: Mapped[str | None] = mapped_column(default=current_traceparent)


class Flood(Base):
    """How much one member was told on one topic in the present window, and what is held back until its end."""

    __tablename__ = "flood"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    window_until: Mapped[datetime] = mapped_column(index=True)
    told: Mapped[int]
    held: Mapped[int] = mapped_column(default=0)
    names: Mapped[list[str]]
    digest_id: Mapped[str | None]


class Alert(Base):
    """A fault of equipment, until somebody has acknowledged it or it is over. `told`: who has heard of it."""

    __tablename__ = "alert"
    __table_args__ = (
        Index("ix_alert_escalation", "next_at", postgresql_where=text("next_at IS NOT NULL")),
        Index("ix_alert_branch_id_fault_id", "branch_id", "fault_id"),
    )

    fault_id: Mapped[str] = mapped_column(primary_key=True)
    equipment_id: Mapped[str]
    branch_id: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str] = mapped_column(default="open")
    level: Mapped[int] = mapped_column(default=0)
    told: Mapped[list[str]]
    since: Mapped[datetime]
    detected_at: Mapped[datetime]
    next_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    recovered_at: Mapped[datetime | None]
