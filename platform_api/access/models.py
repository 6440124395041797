"""Tables of the access domain.

What is heard from other domains (members, enrolments) is kept with the version of the aggregate it was heard at, and
erasure leaves a tombstone, so that messages may come late, twice or out of order.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import BigInteger, ForeignKey, Index, MetaData, SmallInteger, Uuid, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id

EVERY_BRANCH = "*"
"""Among the branches of a membership: all of them, present and future."""

MODES = ("normal", "lockdown", "emergency_open")
BLOCK_REASONS = ("unpaid", "banned")


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return int


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Branch(Base):
    """This domain's copy of a branch. `source_version` is the version heard from the branch domain."""

    __tablename__ = "branch"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    timezone: Mapped[str]
    hours: Mapped[dict[str, Any] | None]
    capacity: Mapped[int | None]
    mode: Mapped[str] = mapped_column(default="normal")
    mode_reason: Mapped[str | None]
    mode_since: Mapped[datetime] = mapped_column(default=now)
    source_version: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Member(Base):
    """What is known here of a member. A row with `erased_at` is a tombstone: nothing of the member may come back."""

    __tablename__ = "member"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(default="active")
    version: Mapped[int] = mapped_column(default=0)
    erased_at: Mapped[datetime | None]


class Membership(Base):
    """A member's right to enter branches between two days (both inclusive, by the branch's calendar)."""

    __tablename__ = "membership"

    membership_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    member_id: Mapped[str] = mapped_column(ForeignKey("member.member_id"), index=True)
    plan: Mapped[str]
    valid_from: Mapped[date]
    valid_until: Mapped[date | None] = mapped_column(index=True)
    branch_ids: Mapped[list[str]]
    hours: Mapped[dict[str, Any] | None]
    freezes: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    blocked: Mapped[str | None]
    lapsed: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Edge(Base):
    """A gate node, known by its Ed25519 public key (32 raw bytes)."""

    __tablename__ = "edge"

    edge_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"), index=True)
    name: Mapped[str]
    public_key: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_seen_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Gate(Base):
    """A door and how it behaves. Of the kiosk's key only the SHA-256 is kept."""

    __tablename__ = "gate"
    __table_args__ = (
        Index("uq_gate_branch_id_name", "branch_id", "name", unique=True, postgresql_where=text("removed_at IS NULL")),
    )

    gate_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"), index=True)
    edge_id: Mapped[str] = mapped_column(ForeignKey("edge.edge_id"), index=True)
    former_edge_ids: Mapped[list[str]] = mapped_column(default=list)
    name: Mapped[str]
    direction: Mapped[str]
    controller_url: Mapped[str]
    controller_gate_id: Mapped[str]
    liveness: Mapped[str]
    anti_passback: Mapped[dict[str, Any]]
    fail_mode: Mapped[str]
    lockout: Mapped[dict[str, Any]]
    open_seconds: Mapped[float]
    kiosk_key_sha256: Mapped[str]
    removed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class DeviceAssertion(Base):
    """An assertion a device has used already (RFC 7519 `jti`); kept as long as it would be valid."""

    __tablename__ = "device_assertion"

    edge_id: Mapped[str] = mapped_column(primary_key=True)
    jti: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Enrolment(Base):
    """The newest enrolment heard of, for each member and model; it stays after withdrawal, as a watermark."""

    __tablename__ = "enrolment"
    __table_args__ = (Index("ix_enrolment_model_version", "model_version", postgresql_where=text("NOT withdrawn")),)

    member_id: Mapped[str] = mapped_column(ForeignKey("member.member_id"), primary_key=True)
    model_version: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    template_id: Mapped[str]
    withdrawn: Mapped[bool] = mapped_column(default=False)


class WithdrawnTemplate(Base):
    """A template that must never be stored here, however late its FaceEnrolled arrives."""

    __tablename__ = "withdrawn_template"

    template_id: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime] = mapped_column(default=now)


class TemplateRow(Base):
    """One rotated row (see `rotation`) of a member's template: float32 [dim], unit length."""

    __tablename__ = "template_row"
    __table_args__ = (Index("ix_template_row_member_id_model_version", "member_id", "model_version"),)

    template_id: Mapped[str] = mapped_column(primary_key=True)
    row: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    member_id: Mapped[str] = mapped_column(ForeignKey("member.member_id"))
    model_version: Mapped[str] = mapped_column(ForeignKey("model.version"), index=True)
    vector: Mapped[Any] = mapped_column(Vector())


class Model(Base):
    """A face model edges may run, its thresholds, its package, and the sealed secret of its gallery's rotation.

    stage: candidate (its gallery may grow), shadow, canary (live at `place`, an edge), live, former (kept for a way back)
    or retired. heard, live_heard: version of the newest event that spoke of its stage, and that made it live.
    incomplete: edges may take it though members of the present gallery are missing in its own.
    """

    __tablename__ = "model"
    __table_args__ = (Index("uq_model_live", "stage", unique=True, postgresql_where=text("stage = 'live'")),)

    version: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str]
    place: Mapped[str | None]
    heard: Mapped[int] = mapped_column(default=0)
    live_heard: Mapped[int] = mapped_column(default=0)
    archive_key: Mapped[str | None]
    archive_sha256: Mapped[str | None]
    archive_bytes: Mapped[int | None] = mapped_column(BigInteger)
    incomplete: Mapped[bool] = mapped_column(default=False)
    dim: Mapped[int | None]
    thresholds: Mapped[dict[str, Any] | None]
    rotation_sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=now)

    @property
    def live(self) -> bool:
        """Whether it is the one in use."""
        return self.stage == "live"


class ModelReport(Base):
    """A report of an edge that has been passed on, so that it is passed on once."""

    __tablename__ = "model_report"

    report_id: Mapped[str] = mapped_column(primary_key=True)
    edge_id: Mapped[str]
    version: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Change(Base):
    """The latest change of one object, for the edges; see `feed`. `audience` names the branches it may concern."""

    __tablename__ = "change"
    __table_args__ = (
        Index("ix_change_xid_seq", "xid", "seq"),
        Index("ix_change_deleted_at", "at", postgresql_where=text("deleted")),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    xid: Mapped[int] = mapped_column(Xid8)
    seq: Mapped[int] = mapped_column(BigInteger)
    audience: Mapped[list[str]]
    deleted: Mapped[bool]
    at: Mapped[datetime]


class FeedState(Base):
    """One row: which life of the feed cursors belong to, and up to where deletions have been forgotten."""

    __tablename__ = "feed_state"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[str]
    cluster: Mapped[str]
    purged_xid: Mapped[int] = mapped_column(BigInteger, default=0)
    purged_seq: Mapped[int] = mapped_column(BigInteger, default=0)


class Entry(Base):
    """What a gate decided, as its edge logged it. After erasure `member_id` is null: no pseudonym, no trail."""

    __tablename__ = "entry"
    __table_args__ = (
        Index("ix_entry_branch_id_at_entry_id", "branch_id", "at", "entry_id"),
        Index("ix_entry_member_id_at_entry_id", "member_id", "at", "entry_id"),
        Index("ix_entry_at_entry_id", "at", "entry_id"),
    )

    entry_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    branch_id: Mapped[str]
    gate_id: Mapped[str]
    edge_id: Mapped[str]
    at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=now)
    method: Mapped[str]
    direction: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str]
    member_id: Mapped[str | None]
    score: Mapped[float | None]
    model_version: Mapped[str | None]
    stages_ms: Mapped[dict[str, Any] | None]
    gate_result: Mapped[str | None]


class Stranger(Base):
    """A frame of somebody refused, sealed in the object store until `expires_at`, for review."""

    __tablename__ = "stranger"
    __table_args__ = (Index("ix_stranger_branch_id_stranger_id", "branch_id", "stranger_id"),)

    stranger_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    entry_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), unique=True)
    branch_id: Mapped[str]
    gate_id: Mapped[str]
    at: Mapped[datetime]
    object_key: Mapped[str | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    decision: Mapped[str | None]
    member_id: Mapped[str | None] = mapped_column(index=True)
    note: Mapped[str | None]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]


class QrKey(Base):
    """A key that signs passes. Known to edges from creation, used from `active_from`, so that edges are never late."""

    __tablename__ = "qr_key"

    kid: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    public_key: Mapped[bytes]
    private_sealed: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=now)
    active_from: Mapped[datetime]


class QrPass(Base):
    """A pass that was issued; the token itself is not kept."""

    __tablename__ = "qr_pass"
    __table_args__ = (Index("ix_qr_pass_member_id_issued_at", "member_id", "issued_at"),)

    jti: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    member_id: Mapped[str]
    branch_id: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(default=now, index=True)
