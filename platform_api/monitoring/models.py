"""Tables of the monitoring domain.

An item's description (`equipment`: edited by people, few writes) and its state (`equipment_state`: written by the
processes that watch it) are apart, so that an ETag changes when a person edits and not when a treadmill answers.
"""

import zlib
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, MetaData, SmallInteger, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id

SHARDS = 64
"""Parts into which the equipment falls for the probers. A constant: every process must agree on it."""


def shard_of(equipment_id: str) -> int:
    """The shard of an item."""
    return zlib.crc32(equipment_id.encode()) % SHARDS


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Branch(Base):
    """This domain's copy of a branch, at the version it was heard at."""

    __tablename__ = "branch"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    timezone: Mapped[str]
    status: Mapped[str]
    version: Mapped[int]


class Equipment(Base):
    """An item of equipment, as people describe it. `public_key`: raw Ed25519, 32 bytes; the private half is not kept."""

    __tablename__ = "equipment"
    __table_args__ = (
        Index(
            "uq_equipment_branch_id_name", "branch_id", "name", unique=True, postgresql_where=text("retired_at IS NULL")
        ),
        Index("ix_equipment_branch_id_equipment_id", "branch_id", "equipment_id"),
    )

    equipment_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    name: Mapped[str]
    kind: Mapped[str]
    severity: Mapped[str]
    echo_url: Mapped[str | None]
    heartbeat_interval_s: Mapped[int]
    public_key: Mapped[bytes | None]
    key_id: Mapped[str | None]
    shard: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)
    retired_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(default=now, index=True)


class EquipmentState(Base):
    """What is known of an item (see `states.Facts`), and its readings.

    `version` counts the events told of it; `last_sequence` is that of the last heartbeat line under the present key.
    """

    __tablename__ = "equipment_state"

    equipment_id: Mapped[str] = mapped_column(ForeignKey("equipment.equipment_id"), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(default="ok")
    since: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column(default=0)
    causes: Mapped[dict[str, Any]] = mapped_column(default=dict)
    suspect_since: Mapped[datetime | None]
    maintenance: Mapped[bool] = mapped_column(default=False)
    recovered_at: Mapped[datetime | None]
    flaps: Mapped[int] = mapped_column(default=0)
    last_echo_at: Mapped[datetime | None]
    last_rtt_ms: Mapped[float | None]
    loss: Mapped[float] = mapped_column(default=0.0)
    last_heartbeat_at: Mapped[datetime | None]
    heartbeat_due_at: Mapped[datetime | None]
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=-1)
    firmware: Mapped[str | None]


class Fault(Base):
    """A fault of an item, open while `closed_at` is null; at most one is open for an item and group."""

    __tablename__ = "fault"
    __table_args__ = (
        Index("uq_fault_open", "equipment_id", "cause_group", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_fault_branch_id_fault_id", "branch_id", "fault_id"),
        Index("ix_fault_equipment_id_fault_id", "equipment_id", "fault_id"),
        Index("ix_fault_closed_at", "closed_at"),
    )

    fault_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    equipment_id: Mapped[str] = mapped_column(ForeignKey("equipment.equipment_id"))
    branch_id: Mapped[str]
    cause_group: Mapped[str]
    reason: Mapped[str]
    severity: Mapped[str]
    detail: Mapped[str | None]
    since: Mapped[datetime]
    detected_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    note: Mapped[str | None]


class StateChange(Base):
    """A line of an item's history."""

    __tablename__ = "state_change"
    __table_args__ = (Index("ix_state_change_equipment_id_position", "equipment_id", "position"),)

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    equipment_id: Mapped[str]
    at: Mapped[datetime] = mapped_column(index=True)
    before: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    fault_id: Mapped[str | None]


class MaintenanceWindow(Base):
    """A time in which an item, or a whole branch (`equipment_id` null), raises no alert."""

    __tablename__ = "maintenance_window"
    __table_args__ = (
        Index("ix_maintenance_window_ends_at", "ends_at"),
        Index("ix_maintenance_window_branch_id_window_id", "branch_id", "window_id"),
    )

    window_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    equipment_id: Mapped[str | None] = mapped_column(ForeignKey("equipment.equipment_id"), index=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column(default=1)


class ModelChange(Base):
    """A model that was trained, deployed or rolled back: what an operator looks at when things changed."""

    __tablename__ = "model_change"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(index=True)
    change: Mapped[str]
    model_version: Mapped[str]
    previous_version: Mapped[str | None]
    metrics: Mapped[dict[str, Any]]
    by: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(index=True)


class Watch(Base):
    """That a heartbeat server listens, and since when without a gap: silence only means something while it did."""

    __tablename__ = "watch"

    name: Mapped[str] = mapped_column(primary_key=True)
    up_since: Mapped[datetime]
    seen_at: Mapped[datetime]
