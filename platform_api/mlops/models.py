"""Tables of the mlops domain."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id


class Base(DeclarativeBase):
    """Declarative base of this domain alone: its metadata never meets another domain's."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = COLUMN_TYPES


class Model(Base):
    """A model that the platform runs. `revision` counts its events; its row is the lock of what changes it."""

    __tablename__ = "model"

    model: Mapped[str] = mapped_column(primary_key=True)
    live_version: Mapped[str | None]
    revision: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Version(Base):
    """A version of a model, as its package describes it. A `retired` one is not deployed again."""

    __tablename__ = "version"
    __table_args__ = (Index("ix_version_model_created_at_version", "model", "created_at", "version"),)

    model: Mapped[str] = mapped_column(ForeignKey("model.model"), primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="available")
    metrics: Mapped[dict[str, Any]]
    details: Mapped[dict[str, Any]]
    dataset: Mapped[str | None]
    training_id: Mapped[str | None] = mapped_column(ForeignKey("training.training_id"))
    note: Mapped[str | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    revision: Mapped[int] = mapped_column(default=1)


class Dataset(Base):
    """Labelled photos in the object store. `confirmations_through`: the last decision of a person that is in it."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("model", "name"),)

    dataset_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(ForeignKey("model.model"))
    name: Mapped[str]
    digest: Mapped[str]
    photos: Mapped[int]
    helpers: Mapped[int]
    counts: Mapped[dict[str, Any]]
    done_states: Mapped[dict[str, Any]]
    confirmations_through: Mapped[int | None] = mapped_column(BigInteger)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Training(Base):
    """A training: `queued`, `running`, `cancelling`, then `succeeded`, `failed` or `cancelled`."""

    __tablename__ = "training"
    __table_args__ = (
        Index(
            "ix_training_open", "requested_at", postgresql_where=text("state IN ('queued', 'running', 'cancelling')")
        ),
    )

    training_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(ForeignKey("model.model"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.dataset_id"))
    state: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    version: Mapped[str | None]
    error: Mapped[str | None]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    host: Mapped[str | None]
    log_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    log_lines: Mapped[int] = mapped_column(default=0)


class TrainingLine(Base):
    """A line of a training's log."""

    __tablename__ = "training_line"

    training_id: Mapped[str] = mapped_column(ForeignKey("training.training_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str]


class Deployment(Base):
    """A change of the version that serves: `requested`, then `live`, `failed` or `cancelled`; what was live ends as
    `superseded` by the next, or as `rolled_back`.
    """

    __tablename__ = "deployment"
    __table_args__ = (
        Index("uq_deployment_open", "model", unique=True, postgresql_where=text("state = 'requested'")),
        Index("ix_deployment_model_deployment_id", "model", "deployment_id"),
    )

    deployment_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(ForeignKey("model.model"))
    version: Mapped[str]
    previous_version: Mapped[str | None]
    kind: Mapped[str]
    reason: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="requested")
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    prepare_ms: Mapped[float | None]


class Judgement(Base):
    """A verdict that was given. Whose work it was is not kept here."""

    __tablename__ = "judgement"
    __table_args__ = (Index("ix_judgement_judged_at_task_id", "judged_at", "task_id"),)

    task_id: Mapped[str] = mapped_column(primary_key=True)
    branch_id: Mapped[str]
    kind: Mapped[str]
    verdict: Mapped[str]
    confidence: Mapped[float]
    model_version: Mapped[str | None]
    photos: Mapped[list[dict[str, Any]]]
    judged_at: Mapped[datetime]
    milliseconds: Mapped[float]


class Confirmation(Base):
    """What a person decided about a task; `position` counts them in the order of hearing."""

    __tablename__ = "confirmation"

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    task_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    outcome: Mapped[str]
    corrected: Mapped[bool]
    label: Mapped[str]
    judged_verdict: Mapped[str]
    model_version: Mapped[str | None]
    photos: Mapped[int]
    confirmed_at: Mapped[datetime]
    version: Mapped[int]
