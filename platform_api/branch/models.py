"""Tables of the branch domain.

What is heard from others (tasks, reviews, faults) is kept with what tells a late message from a new one.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id

UNDECIDED = text("state = 'waiting'")


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Branch(Base):
    """A branch. `version` counts every change, and is its ETag and the version of its events."""

    __tablename__ = "branch"
    __table_args__ = (Index("ix_branch_name_branch_id", "name", "branch_id"),)

    branch_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    name_en: Mapped[str | None]
    description: Mapped[str]
    description_en: Mapped[str | None]
    address: Mapped[str]
    region: Mapped[str] = mapped_column(index=True)
    latitude: Mapped[float]
    longitude: Mapped[float]
    timezone: Mapped[str]
    hours: Mapped[dict[str, Any] | None]
    amenities: Mapped[list[str]]
    prices: Mapped[list[dict[str, Any]]]
    capacity: Mapped[int | None]
    status: Mapped[str]
    phone: Mapped[str | None]
    manager_ids: Mapped[list[str]] = mapped_column(default=list)
    preference_version: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    photos: Mapped[list["BranchPhoto"]] = relationship(order_by="BranchPhoto.photo_id", lazy="selectin", viewonly=True)


class BranchPhoto(Base):
    """A public photo of a branch; it lies unsealed, since anybody may see it."""

    __tablename__ = "branch_photo"

    photo_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"), index=True)
    object_key: Mapped[str]
    caption: Mapped[str | None]
    width: Mapped[int]
    height: Mapped[int]
    added_at: Mapped[datetime] = mapped_column(default=now)


class Task(Base):
    """A judged task, for a person to decide about. The queue is ordered by `rank_at` (see `queue`)."""

    __tablename__ = "task"
    __table_args__ = (
        Index("ix_task_queue", "rank_at", "task_id", postgresql_where=UNDECIDED),
        Index("ix_task_branch_id_task_id", "branch_id", "task_id"),
    )

    task_id: Mapped[str] = mapped_column(primary_key=True)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    helper_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    verdict: Mapped[str]
    confidence: Mapped[float]
    model_version: Mapped[str | None]
    judged_at: Mapped[datetime]
    rank_at: Mapped[datetime]
    photos: Mapped[list[dict[str, Any]]]
    state: Mapped[str] = mapped_column(default="waiting")
    label: Mapped[str | None]
    corrected: Mapped[bool | None]
    reason: Mapped[str | None]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class Review(Base):
    """This domain's copy of a review. Removed ones stay as empty rows, so that late news cannot bring them back."""

    __tablename__ = "review"
    __table_args__ = (Index("ix_review_branch_id_posted_at_review_id", "branch_id", "posted_at", "review_id"),)

    review_id: Mapped[str] = mapped_column(primary_key=True)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    member_id: Mapped[str | None] = mapped_column(index=True)
    rating: Mapped[int]
    body: Mapped[str]
    language: Mapped[str]
    state: Mapped[str]
    posted_at: Mapped[datetime]
    version: Mapped[int]


class Visit(Base):
    """Somebody entered a branch. `member_id` is null where nobody was recognised, or the member is erased."""

    __tablename__ = "visit"
    __table_args__ = (Index("ix_visit_branch_id_at", "branch_id", "at"),)

    entry_id: Mapped[str] = mapped_column(primary_key=True)
    branch_id: Mapped[str]
    member_id: Mapped[str | None] = mapped_column(index=True)
    at: Mapped[datetime] = mapped_column(index=True)


class ErasedMember(Base):
    """A tombstone: what comes late about this member is kept without the member's id."""

    __tablename__ = "erased_member"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)


class Preference(Base):
    """What kind of place a branch was found to be, each time it was computed."""

    __tablename__ = "preference"
    __table_args__ = (Index("ix_preference_branch_id_position", "branch_id", "position"),)

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    traits: Mapped[dict[str, Any]]
    visits: Mapped[int]
    reviews: Mapped[int]
    regulars: Mapped[int]
    version: Mapped[int]
    computed_by: Mapped[str]
    computed_at: Mapped[datetime] = mapped_column(default=now)


class Fault(Base):
    """This domain's copy of a fault of equipment in a branch."""

    __tablename__ = "fault"
    __table_args__ = (Index("ix_fault_branch_id_since_fault_id", "branch_id", "since", "fault_id"),)

    fault_id: Mapped[str] = mapped_column(primary_key=True)
    equipment_id: Mapped[str]
    branch_id: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    reason: Mapped[str | None]
    severity: Mapped[str | None]
    since: Mapped[datetime]
    recovered_at: Mapped[datetime | None]


class ObjectDeletion(Base):
    """A branch photo to be deleted when its time comes."""

    __tablename__ = "object_deletion"

    object_key: Mapped[str] = mapped_column(Text, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(index=True)
