"""Tables of the mlops domain."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, MetaData, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platform_api.core.clock import now
from platform_api.core.models import COLUMN_TYPES, NAMING, new_id
from platform_api.mlops.settings import settings


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
    """A version of a model, as its package describes it. A `retired` one is not deployed again.

    archive_*: its signed archive in the object store; None where it is shipped, or lies in this machine's store alone.
    """

    __tablename__ = "version"
    __table_args__ = (Index("ix_version_model_created_at_version", "model", "created_at", "version"),)

    model: Mapped[str] = mapped_column(ForeignKey("model.model"), primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="available")
    metrics: Mapped[dict[str, Any]]
    details: Mapped[dict[str, Any]]
    dataset: Mapped[str | None]
    archive_key: Mapped[str | None]
    archive_sha256: Mapped[str | None]
    archive_bytes: Mapped[int | None] = mapped_column(BigInteger)
    training_id: Mapped[str | None] = mapped_column(ForeignKey("training.training_id"))
    run_id: Mapped[str | None]
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
    run_id: Mapped[str | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Training(Base):
    """A training, which is a run of Dagster: `queued`, `running`, `cancelling`, then `succeeded`, `failed` or `cancelled`.

    dataset_id: None until a new data set has been collected. run_id: None until Dagster has taken it.
    """

    __tablename__ = "training"
    __table_args__ = (
        Index(
            "ix_training_open", "requested_at", postgresql_where=text("state IN ('queued', 'running', 'cancelling')")
        ),
    )

    training_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(ForeignKey("model.model"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.dataset_id"))
    run_id: Mapped[str | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str | None]
    version: Mapped[str | None]
    error: Mapped[str | None]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    log_cursor: Mapped[str | None]
    log_lines: Mapped[int] = mapped_column(default=0)

    @property
    def run_url(self) -> str | None:
        """Page of the run."""
        return f"{settings().dagster_public_url}/runs/{self.run_id}" if self.run_id else None


class TrainingLine(Base):
    """A line of a training's log."""

    __tablename__ = "training_line"

    training_id: Mapped[str] = mapped_column(ForeignKey("training.training_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    text: Mapped[str]


OPEN = ("requested", "preparing", "shadow", "canary")
"""States of a deployment that is under way: one a model."""
TRIALS = ("shadow", "canary")


class Deployment(Base):
    """A change of the version that serves: `requested`, `preparing`, the trials it is to go through (`stages`: `shadow`,
    `canary`), then `live`; or `failed`, `cancelled`, `rolled_back`. What was live ends as `superseded` by the next, or as
    `rolled_back`.

    since: when it came into its state; place: where a canary serves; promoted_by: who sent it on without waiting;
    watch_until: end of the watch over a live version, None where nothing is watched (any more). obstacle: what it cannot
    reach for the moment, and since when.
    """

    __tablename__ = "deployment"
    __table_args__ = (
        Index(
            "uq_deployment_open",
            "model",
            unique=True,
            postgresql_where=text("state IN ('requested', 'preparing', 'shadow', 'canary')"),
        ),
        Index("ix_deployment_model_deployment_id", "model", "deployment_id"),
    )

    deployment_id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    model: Mapped[str] = mapped_column(ForeignKey("model.model"))
    version: Mapped[str]
    previous_version: Mapped[str | None]
    kind: Mapped[str]
    reason: Mapped[str | None]
    stages: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(default="requested")
    since: Mapped[datetime] = mapped_column(default=now)
    place: Mapped[str | None]
    promoted_by: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    prepare_ms: Mapped[float | None]
    watch_until: Mapped[datetime | None]
    obstacle: Mapped[str | None]
    obstacle_since: Mapped[datetime | None]

    @property
    def stage(self) -> str:
        """The state, and `watching` while a live version is watched."""
        return "watching" if self.state == "live" and self.watch_until is not None else self.state


class DeploymentStep(Base):
    """A state that a deployment came into: when, by whom, why, and the figures that it went by."""

    __tablename__ = "deployment_step"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployment.deployment_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=now)
    by: Mapped[str]
    reason: Mapped[str | None]
    figures: Mapped[dict[str, Any]]


class ShadowScore(Base):
    """What a version on trial says of a task beside the one that gave the verdict; written with the verdict, scored later.

    photos: their keys and hashes, as helper told them. agreed: None until scored, or where one of the two was not sure.
    error: why there is no verdict.
    """

    __tablename__ = "shadow_score"
    __table_args__ = (
        Index("ix_shadow_score_waiting", "created_at", postgresql_where=text("scored_at IS NULL")),
        Index("ix_shadow_score_version_created_at", "version", "created_at"),
    )

    task_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photos: Mapped[list[dict[str, Any]]]
    live_verdict: Mapped[str]
    live_milliseconds: Mapped[float]
    verdict: Mapped[str | None]
    confidence: Mapped[float | None]
    agreed: Mapped[bool | None]
    milliseconds: Mapped[float | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    scored_at: Mapped[datetime | None]


class Observation(Base):
    """What a gate node reported of a version: counts and times since its last report."""

    __tablename__ = "observation"
    __table_args__ = (Index("ix_observation_version_stage_at", "model", "version", "stage", "at"),)

    report_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    stage: Mapped[str]
    edge_id: Mapped[str]
    frames: Mapped[int]
    agreed: Mapped[int]
    accepted: Mapped[int]
    errors: Mapped[int]
    milliseconds_p50: Mapped[float | None]
    milliseconds_p95: Mapped[float | None]
    ready: Mapped[bool]
    trouble: Mapped[str | None]
    at: Mapped[datetime]


class Judgement(Base):
    """A verdict that was given. Whose work it was is not kept here."""

    __tablename__ = "judgement"
    __table_args__ = (
        Index("ix_judgement_judged_at_task_id", "judged_at", "task_id"),
        Index("ix_judgement_model_version_judged_at", "model_version", "judged_at"),
    )

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


class AuditReport(Base):
    """What the analysis of the audit trails found of a day (`name`), people under pseudonyms; "chain": of their hash chains."""

    __tablename__ = "audit_report"

    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    findings: Mapped[list[dict[str, Any]]]
    critical: Mapped[int]
    warning: Mapped[int]
    info: Mapped[int]
    revision: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, index=True)
