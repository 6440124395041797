"""Tables of the search domain.

Branches, visits and members are copies of what others own, heard by event and kept with the version they were heard at,
since events may come late, twice or out of order. Reviews are this domain's own.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, MetaData, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id

REPORT_REASONS = ("spam", "abuse", "false", "privacy", "off_topic", "other")
REVIEW_STATES = ("posted", "held", "removed")
OPEN_REBUILD = ("waiting", "running", "built", "accepting", "rejecting")
REBUILD_STATES = (*OPEN_REBUILD, "done", "rejected", "failed")


class Base(DeclarativeBase):
    """Declarative base of this domain alone."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Branch(Base):
    """Our copy of a branch. `version` as heard with its description, `traits_at` of its measured traits."""

    __tablename__ = "branch"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    name: Mapped[str]
    name_en: Mapped[str | None]
    description: Mapped[str]
    description_en: Mapped[str | None]
    address: Mapped[str]
    region: Mapped[str]
    latitude: Mapped[float]
    longitude: Mapped[float]
    timezone: Mapped[str]
    hours: Mapped[dict[str, Any] | None]
    amenities: Mapped[list[str]]
    prices: Mapped[list[dict[str, Any]]]
    phone: Mapped[str | None]
    status: Mapped[str]
    traits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    traits_at: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(default=now)


class BranchKeywords(Base):
    """What a language model found in the page and reviews of a branch. It is gone when any of these texts changes.

    `traits`: code -> number of texts that say it. `digest`: of what it was asked, so that it need not be asked again.
    """

    __tablename__ = "branch_keywords"

    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    digest: Mapped[str]
    words: Mapped[list[str]]
    traits: Mapped[dict[str, Any]]
    review_ids: Mapped[list[str]]
    extracted_at: Mapped[datetime] = mapped_column(default=now)


class Visit(Base):
    """That a member has been in a branch, how often and when last."""

    __tablename__ = "visit"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    branch_id: Mapped[str] = mapped_column(primary_key=True)
    visits: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class Member(Base):
    """What we compute of a member. A row with `erased_at` is a tombstone: nothing of the member may come back."""

    __tablename__ = "member"

    member_id: Mapped[str] = mapped_column(primary_key=True)
    taste: Mapped[dict[str, Any] | None]
    taste_at: Mapped[datetime | None]
    learnt: Mapped[dict[str, Any] | None]
    """What the data side made of all members' visits: {branches: {id: 0..1}, traits: {code: -1..1}}."""
    learnt_version: Mapped[str | None]
    learnt_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]


class Review(Base):
    """What a member says of a branch: one for each member and branch. `held`: hidden until an operator decides."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("member_id", "branch_id"),
        Index("ix_review_branch_id_created_at_review_id", "branch_id", "created_at", "review_id"),
        Index("ix_review_reported_at_review_id", "reported_at", "review_id", postgresql_where=text("reported_at IS NOT NULL")),
    )  # fmt: skip

    review_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    branch_id: Mapped[str] = mapped_column(ForeignKey("branch.branch_id"))
    member_id: Mapped[str]
    rating: Mapped[int] = mapped_column(SmallInteger)
    text: Mapped[str]
    language: Mapped[str]
    state: Mapped[str] = mapped_column(default="posted")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    edited_at: Mapped[datetime | None]
    open_reports: Mapped[int] = mapped_column(default=0)
    reported_at: Mapped[datetime | None]
    """When the oldest report came that nobody has decided yet."""


class Report(Base):
    """A member's complaint about a review. `decided_at`: an operator has dealt with it."""

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("review_id", "member_id"),)

    report_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    review_id: Mapped[str] = mapped_column(ForeignKey("review.review_id", ondelete="CASCADE"))
    member_id: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    text: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    decided_at: Mapped[datetime | None]


class Pending(Base):
    """A branch whose document is out of date. `mark` counts up, so that a change made while it is indexed is not lost."""

    __tablename__ = "pending"

    branch_id: Mapped[str] = mapped_column(primary_key=True)
    mark: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('pending_mark')"))
    since: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class Rebuild(Base):
    """A rebuilding of the whole index, asked for or done.

    With `hold` the new index is built and does not serve until somebody accepts it: waiting -> running -> built ->
    accepting -> done, or -> rejecting -> rejected. `index_name`: what the engine calls it.
    """

    __tablename__ = "rebuild"

    rebuild_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    asked_by: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(default=now)
    state: Mapped[str] = mapped_column(default="waiting")
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    documents: Mapped[int | None]
    error: Mapped[str | None]
    hold: Mapped[bool] = mapped_column(default=False)
    index_name: Mapped[str | None]
    held_until: Mapped[datetime | None]
