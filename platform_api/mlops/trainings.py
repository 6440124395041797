"""Trainings as they are asked for and looked at; Dagster runs them, and a worker follows (`following`)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.mlops import catalogue, datasets
from platform_api.mlops.dagster import dagster
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.models import Training, TrainingLine

OPEN = ("queued", "running", "cancelling")


def start(session: Session, who: Principal, model: str, dataset_id: str | None) -> Training:
    """Ask for a training.

    Args:
        dataset_id: the data set to learn from; None: a new one is collected from what people decided.

    Raises:
        Problem: 404 no such model or data set; 409 `training_in_progress` on the same data; 503 `dagster_not_set`.
    """
    kind_of(model)
    if dagster() is None:
        raise Problem(
            503,
            "dagster_not_set",
            "학습을 실행할 Dagster가 설정되지 않았습니다. SMARTFIT_DAGSTER_URL을 설정하세요.",
            "There is no Dagster to run it; set SMARTFIT_DAGSTER_URL.",
        )
    # Locks the model, so that two requests at once make one training.
    catalogue.lock(session, model)
    if dataset_id is not None and datasets.get(session, dataset_id).model != model:
        raise Problem(404, "dataset_not_found", "없는 데이터셋입니다.", "This model has no such data set.")
    same = select(Training.training_id).where(
        Training.model == model,
        Training.state.in_(OPEN),
        Training.dataset_id.is_not_distinct_from(dataset_id),
        Training.requested_by != "dagster",
    )
    if (open_one := session.scalar(same)) is not None:
        raise Problem(
            409,
            "training_in_progress",
            "같은 데이터로 학습이 진행 중입니다.",
            "A training on the same data is under way.",
            training_id=open_one,
        )
    training = Training(model=model, dataset_id=dataset_id, requested_by=who.id, message="queued")
    session.add(training)
    session.flush()
    audit.record(session, who.id, "training.start", training.training_id, {"model": model, "dataset": dataset_id})
    return training


def cancel(session: Session, who: Principal, training_id: str) -> Training:
    """Stop a training: at once where it waits, else as soon as its process has ended.

    Raises:
        Problem: 404; 409 `already_finished`.
    """
    query = select(Training).where(Training.training_id == training_id).with_for_update()
    training = session.scalars(query).one_or_none()
    if training is None:
        raise _none()
    if training.state not in OPEN:
        raise Problem(409, "already_finished", "이미 끝난 학습입니다.", "This training is over.", state=training.state)
    if training.state != "cancelling":
        training.cancel_requested_at = clock.now()
        audit.record(session, who.id, "training.cancel", training_id)
    if training.run_id is None:
        training.state, training.finished_at = "cancelled", clock.now()
    else:
        training.state = "cancelling"
    return training


def get(session: Session, training_id: str) -> Training:
    """One training. Raises 404."""
    found = session.get(Training, training_id)
    if found is None:
        raise _none()
    return found


def listed(
    session: Session, *, model: str | None, state: str | None, cursor: str | None, limit: int
) -> tuple[list[Training], str | None]:
    """Trainings, newest first. Raises 404 for an unknown model."""
    query = select(Training)
    if model is not None:
        query = query.where(Training.model == kind_of(model).name)
    if state is not None:
        query = query.where(Training.state == state)
    return page(session, query, [Training.training_id], cursor, limit)


def log(session: Session, training_id: str, cursor: str | None, limit: int) -> tuple[list[TrainingLine], str | None]:
    """The log of a training, oldest line first. Raises 404."""
    get(session, training_id)
    query = select(TrainingLine).where(TrainingLine.training_id == training_id)
    return page(session, query, [TrainingLine.number], cursor, limit, descending=False)


def _none() -> Problem:
    return Problem(404, "training_not_found", "없는 학습입니다.", "There is no such training.")
