"""Tables that stand in every domain's database: outbox, inbox, idempotency keys, the audit trail, its seals and anchors."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, PrimaryKeyConstraint, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils import uuid7

Timestamp = TIMESTAMP(timezone=True)
_NOW = text("clock_timestamp()")

# What each domain's own declarative base uses: `metadata = MetaData(naming_convention=NAMING)` and
# `type_annotation_map = COLUMN_TYPES`. The bases stay apart, so that no table of one domain refers to another's.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
COLUMN_TYPES = {
    str: Text,
    datetime: Timestamp,
    bytes: LargeBinary,
    dict[str, Any]: JSONB(none_as_null=True),
    list[dict[str, Any]]: JSONB(none_as_null=True),
    list[str]: ARRAY(Text),
}


def new_id() -> str:
    """A UUIDv7 (RFC 9562): opaque, and in the order of creation."""
    return str(uuid7())


class CoreBase(DeclarativeBase):
    """Base of the shared tables; each domain's own tables have a base of their own."""


class OutboxEvent(CoreBase):
    """An event of this domain, written in the transaction that caused it, until a relay has published it."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_unsent", "next_attempt_at", "position", postgresql_where=text("sent_at IS NULL")),
        Index("outbox_sent", "sent_at", postgresql_where=text("sent_at IS NOT NULL")),
    )

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    type: Mapped[str] = mapped_column(Text)
    envelope: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)
    sent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)
    last_error: Mapped[str | None] = mapped_column(Text)


class InboxEvent(CoreBase):
    """An event heard by a subscriber of this domain: `pending`, `done` or `dead` (a dead letter)."""

    __tablename__ = "inbox"
    __table_args__ = (
        PrimaryKeyConstraint("event_id", "subscriber"),
        Index("inbox_pending", "next_attempt_at", "position", postgresql_where=text("status = 'pending'")),
    )

    event_id: Mapped[uuid.UUID]
    subscriber: Mapped[str] = mapped_column(Text)
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    type: Mapped[str] = mapped_column(Text)
    envelope: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(Text, server_default=text("'pending'"))
    received_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)
    done_at: Mapped[datetime | None] = mapped_column(Timestamp)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)
    last_error: Mapped[str | None] = mapped_column(Text)


class IdempotencyKey(CoreBase):
    """The answer to an unsafe request, kept for 24 h under the caller's key."""

    __tablename__ = "idempotency_key"
    __table_args__ = (PrimaryKeyConstraint("principal", "key"),)

    principal: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW, index=True)


class AuditRecord(CoreBase):
    """Who did what to what, and when. Rows can be added and nothing else (a trigger refuses the rest)."""

    __tablename__ = "audit_log"

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW, index=True)
    actor: Mapped[str] = mapped_column(Text, index=True)
    action: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text, index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None] = mapped_column(Text)


class AuditSeal(CoreBase):
    """A link of the chain that closes the audit trail (see core.security.audit_chain). Rows can be added and nothing else."""

    __tablename__ = "audit_seal"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)


class AuditAnchor(CoreBase):
    """The last seal that went with the old part of the trail: from here on the chain is verified. Rows can be added alone."""

    __tablename__ = "audit_anchor"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    anchored_at: Mapped[datetime] = mapped_column(Timestamp, server_default=_NOW)
