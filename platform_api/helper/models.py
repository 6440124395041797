"""Tables of the helper domain.

Copies of branches and members carry the version they were heard at, so that messages may come late, twice or out of
order. `posting` and `ledger_transaction` can be added to and nothing else: the database itself refuses the rest.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id
from platform_api.helper.states import State

EVERY_BRANCH = "*"
"""As the branch of a tariff: all that have none of their own."""


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Branch(Base):
    """This domain's copy of a branch; its daily limits, where they are not the chain's, are our own."""

    __tablename__ = "branch"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    timezone: Mapped[str]
    status: Mapped[str]
    version: Mapped[int]
    helper_daily_limit: Mapped[int | None]
    branch_daily_limit: Mapped[int | None]
    limits_version: Mapped[int] = mapped_column(default=0)


class Helper(Base):
    """What is known here of a member who helps. A row with `erased_at` is a tombstone."""

    __tablename__ = "helper"

    helper_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="active")
    version: Mapped[int] = mapped_column(default=0)
    erased_at: Mapped[datetime | None]


class Task(Base):
    """A piece of work handed in. `helper_id` is null once the helper is erased; `account_id` still says who is paid."""

    __tablename__ = "task"
    __table_args__ = (
        Index("ix_task_helper_id_task_id", "helper_id", "task_id"),
        Index("ix_task_branch_id_task_id", "branch_id", "task_id"),
        Index("ix_task_open", "submitted_at", postgresql_where=text("state IN ('submitted', 'judged')")),
    )

    task_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    helper_id: Mapped[str | None]
    account_id: Mapped[str] = mapped_column(ForeignKey("account.account_id"))
    kind: Mapped[str]
    note: Mapped[str | None]
    redo_of: Mapped[str | None] = mapped_column(ForeignKey("task.task_id"), unique=True)
    day: Mapped[date]
    state: Mapped[State] = mapped_column(Text, default="submitted")
    reward_won: Mapped[int]
    submitted_at: Mapped[datetime] = mapped_column(default=now)
    verdict: Mapped[str | None]
    confidence: Mapped[float | None]
    model_version: Mapped[str | None]
    judged_at: Mapped[datetime | None]
    label: Mapped[str | None]
    corrected: Mapped[bool | None]
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    expired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    photos: Mapped[list["Photo"]] = relationship(order_by="Photo.position", lazy="selectin", viewonly=True)


class Photo(Base):
    """A photo of a task. `object_key` is null once the picture is deleted; the hashes stay, to know it again."""

    __tablename__ = "photo"
    __table_args__ = (UniqueConstraint("task_id", "position"),)

    photo_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    task_id: Mapped[str | None] = mapped_column(ForeignKey("task.task_id"))
    position: Mapped[int] = mapped_column(SmallInteger)
    object_key: Mapped[str | None]
    sent_sha256: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str] = mapped_column(index=True)
    phash: Mapped[Any] = mapped_column(BIT(64))
    phash_fine: Mapped[Any] = mapped_column(BIT(256))
    width: Mapped[int]
    height: Mapped[int]
    verdict: Mapped[str | None]
    confidence: Mapped[float | None]
    reason: Mapped[str | None]
    label: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class DailyCount(Base):
    """Tasks of one helper, or in one branch, on one day of the branch's calendar. Its row is the lock of the limit."""

    __tablename__ = "daily_count"

    scope: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    used: Mapped[int] = mapped_column(default=0)


class Tariff(Base):
    """What a kind of work is paid, in one branch or in every one that has no tariff of its own."""

    __tablename__ = "tariff"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    won: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Account(Base):
    """An account of the ledger. `helper_id` is the one link to a person; erasure takes it away and the books stand."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("helper_id", "kind"),)

    account_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    helper_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class LedgerTransaction(Base):
    """Something that moved money, once: `reference` is unique. `xid` lets postings in only while it is being made."""

    __tablename__ = "ledger_transaction"

    transaction_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[str]
    reference: Mapped[str] = mapped_column(unique=True)
    memo: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(default=now)


class Posting(Base):
    """A line of a transaction: so many won into an account (negative: out of it). Lines of a transaction add up to 0."""

    __tablename__ = "posting"
    __table_args__ = (Index("ix_posting_account_id_position", "account_id", "position", postgresql_include=["won"]),)

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transaction.transaction_id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.account_id"))
    won: Mapped[int] = mapped_column(BigInteger)
    transaction: Mapped[LedgerTransaction] = relationship(lazy="joined", viewonly=True)


class Withdrawal(Base):
    """A helper's wish to be paid out. `destination_sealed`: bank account, encrypted; null once it is needed no more."""

    __tablename__ = "withdrawal"
    __table_args__ = (Index("ix_withdrawal_account_id_withdrawal_id", "account_id", "withdrawal_id"),)

    withdrawal_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    helper_id: Mapped[str | None]
    account_id: Mapped[str] = mapped_column(ForeignKey("account.account_id"))
    held_account_id: Mapped[str] = mapped_column(ForeignKey("account.account_id"))
    won: Mapped[int]
    state: Mapped[str] = mapped_column(default="requested")
    bank: Mapped[str]
    account_tail: Mapped[str]
    destination_sealed: Mapped[bytes | None]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)


class ObjectDeletion(Base):
    """An object to be deleted when its time comes (see `objects`)."""

    __tablename__ = "object_deletion"

    object_key: Mapped[str] = mapped_column(Text, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(index=True)
