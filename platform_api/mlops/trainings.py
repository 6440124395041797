"""Trainings as they are asked for and looked at; a worker runs them (`supervision`)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.mlops import datasets
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.models import Dataset, Training, TrainingLine

OPEN = ("queued", "running", "cancelling")


def start(session: Session, who: Principal, model: str, dataset_id: str | None) -> Training:
    """Ask for a training on a data set (None: the newest).

    Raises:
        Problem: 404 no such model or data set; 409 `training_in_progress` on the same data; 422 `not_trainable`, `no_dataset`.
    """
    datasets.must_be_trainable(model)
    query = select(Dataset).where(Dataset.model == model).order_by(Dataset.dataset_id.desc()).limit(1)
    found = datasets.get(session, dataset_id) if dataset_id else session.scalars(query).first()
    if found is None:
        raise Problem(422, "no_dataset", "학습할 데이터셋이 없습니다.", "There is no data set to learn from yet.")
    if found.model != model:
        raise Problem(404, "dataset_not_found", "없는 데이터셋입니다.", "This model has no such data set.")
    # Locks the data set, so that two requests at once make one training.
    session.refresh(found, with_for_update=True)
    same = select(Training.training_id).where(Training.dataset_id == found.dataset_id, Training.state.in_(OPEN))
    if (open_one := session.scalar(same)) is not None:
        raise Problem(
            409,
            "training_in_progress",
            "같은 데이터셋으로 학습이 진행 중입니다.",
            "A training on this data set is under way.",
            training_id=open_one,
        )
    training = Training(model=model, dataset_id=found.dataset_id, requested_by=who.id, message="queued")
    session.add(training)
    session.flush()
    audit.record(session, who.id, "training.start", training.training_id, {"model": model, "dataset": found.dataset_id})
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
    if training.state == "queued":
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
