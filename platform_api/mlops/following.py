"""Trainings followed in the worker: handed to Dagster, watched, ended; those that Dagster starts by itself are taken in as well.

One worker does this at a time (core.jobs). A training is handed over under its own tag, so that a worker that dies right
after that finds the run again. A run whose process died is tried again by Dagster as another run; the training goes on with it.
"""

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.security import audit
from platform_api.mlops import catalogue, held
from platform_api.mlops.dagster import (
    LINE_TAG,
    LINES,
    PARENT,
    TRAINING_TAG,
    WILL_RETRY,
    Dagster,
    Look,
    Rejected,
    Run,
    dagster,
)
from platform_api.mlops.models import Confirmation, Dataset, Training, TrainingLine, Version
from platform_api.mlops.settings import settings
from platform_api.mlops.trainings import OPEN

log = structlog.get_logger(__name__)

WAITING = ("QUEUED", "NOT_STARTED")
FAILED, CANCELED, SUCCEEDED = "FAILURE", "CANCELED", "SUCCESS"
FOUND_AT_ONCE = 20
LONGEST_LINE = 2000
DAGSTER = "dagster"
"""Who asked, of runs that a sensor or somebody at Dagster's pages started."""


def follow() -> None:
    """Look after every training once. Raises ServiceUnavailable where Dagster is away: then all goes on as soon as it is back."""
    server = dagster()
    if server is None:
        return
    with unit_of_work("mlops") as session:
        waiting = list(session.scalars(select(Training).where(Training.state == "queued", Training.run_id.is_(None))))
    for training in waiting:
        _hand_over(server, training)
    for model in LINES:
        _discover(server, model)
    with unit_of_work("mlops") as session:
        query = select(Training.training_id).where(Training.state.in_(OPEN), Training.run_id.is_not(None))
        open_ones = list(session.scalars(query.order_by(Training.requested_at)))
    for training_id in open_ones:
        _watch(server, training_id)


def _hand_over(server: Dagster, training: Training) -> None:
    with unit_of_work("mlops") as session:
        dataset = session.get_one(Dataset, training.dataset_id) if training.dataset_id else None
        days = _days(session, training.model)
    try:
        name = dataset.name if dataset else None
        run_id = server.launch(training.model, training.training_id, name, days, {"smartfit/by": training.requested_by})
    except Rejected as error:
        with unit_of_work("mlops") as session:
            _end(session, _locked(session, training.training_id), "failed", f"Dagster does not take it: {error}")
        return
    with unit_of_work("mlops") as session:
        _locked(session, training.training_id).run_id = run_id
    log.info("training_handed_over", training_id=training.training_id, run_id=run_id)


def _days(session: Session, model: str) -> tuple[str, str]:
    """The days whose decisions a new data set may lack, in UTC: from the day before the last one was made."""
    last = session.scalar(select(func.max(Dataset.created_at)).where(Dataset.model == model))
    first = session.scalar(select(func.min(Confirmation.confirmed_at)))
    today = clock.now().astimezone(UTC)
    begin = (last or first or today).astimezone(UTC) - timedelta(days=1)
    return min(begin, today).date().isoformat(), today.date().isoformat()


def _discover(server: Dagster, model: str) -> None:
    """Take in runs that were started at Dagster itself."""
    runs = [run for run in server.find(LINE_TAG, LINES[model].tag, FOUND_AT_ONCE) if PARENT not in run.tags]
    with unit_of_work("mlops") as session:
        ids = [run.run_id for run in runs]
        known = set(session.scalars(select(Training.run_id).where(Training.run_id.in_(ids))))
        own = {run.run_id for run in runs if TRAINING_TAG in run.tags}
        new = [run for run in runs if run.run_id not in known | own and not _forgotten(run)]
        if new:
            catalogue.lock(session, model)
        for run in reversed(new):
            asked = _time(run.created_at) or clock.now()
            session.add(Training(model=model, run_id=run.run_id, requested_by=DAGSTER, requested_at=asked))


def _forgotten(run: Run) -> bool:
    """Whether it ended before this platform's memory of trainings begins."""
    ended = _time(run.ended_at)
    return ended is not None and clock.now() - ended > timedelta(days=1)


def _watch(server: Dagster, training_id: str) -> None:
    with unit_of_work("mlops") as session:
        training = _locked(session, training_id)
        if training.state not in OPEN or training.run_id is None:
            return
        if training.state == "cancelling":
            server.end(training.run_id)
        seen = server.look(training.run_id, training.log_cursor)
        _take_down(session, training, seen)
        if seen.run is None:
            _end(session, training, "failed", "Dagster knows no such run any more")
            return
        _take_over(session, training, seen.run)
        if seen.more:
            return  # its end is told once its whole log is here
        if seen.run.status == SUCCEEDED:
            _succeed(session, training)
        elif seen.run.status == CANCELED:
            _end(session, training, "cancelled", None)
        elif seen.run.status == FAILED and not _next_try(server, training, seen.run):
            state = "cancelled" if training.state == "cancelling" else "failed"
            _end(session, training, state, training.error or "the run failed; see its page")


def _take_over(session: Session, training: Training, run: Run) -> None:
    if run.status in WAITING:
        return
    if training.state == "queued":
        training.state = "running"
    training.started_at = training.started_at or _time(run.started_at) or clock.now()
    training.progress = max(training.progress, round(run.done / max(run.steps, 1), 4))
    if training.dataset_id is None:
        # The data set that it made: told by the asset, under the run's id.
        made = select(Dataset.dataset_id).where(Dataset.model == training.model, Dataset.run_id == training.run_id)
        training.dataset_id = session.scalar(made.limit(1))


def _take_down(session: Session, training: Training, seen: Look) -> None:
    training.log_cursor = seen.cursor
    for line in seen.lines:
        shown = line.replace("\x00", "").strip()[:LONGEST_LINE]
        if shown and training.log_lines < settings().mlops_training_log_lines:
            training.log_lines += 1
            session.add(TrainingLine(training_id=training.training_id, number=training.log_lines, text=shown))
    if seen.lines:
        training.message = seen.lines[-1].replace("\x00", "").strip().partition("\n")[0][:500] or training.message
    if seen.failure:
        training.error = seen.failure.replace("\x00", "")[:1000]


def _next_try(server: Dagster, training: Training, run: Run) -> bool:
    """Whether Dagster tries it again: then the training goes on with the run that it made for that."""
    if run.tags.get(WILL_RETRY) != "true" or training.state == "cancelling":
        return False
    tries = server.find(PARENT, run.run_id, 1)
    if tries:
        training.run_id, training.log_cursor, training.error = tries[0].run_id, None, None
        training.message = "tried again"
    return True


def _succeed(session: Session, training: Training) -> None:
    made = select(Version).where(Version.model == training.model, Version.run_id == training.run_id).limit(1)
    if (version := session.scalar(made)) is not None:
        training.version, version.training_id = version.version, training.training_id
    training.progress = 1.0
    _end(session, training, "succeeded", None)


def _end(session: Session, training: Training, state: str, error: str | None) -> None:
    training.state, training.error, training.finished_at = state, error and error[:1000], clock.now()
    details = {"state": state, "version": training.version, "error": training.error}
    audit.record(session, "system", "training.end", training.training_id, details)
    if state == "failed":
        held.tell(session, training.model, training.version, "training", training.training_id, error or "?")
    log.info("training_ended", training_id=training.training_id, state=state, error=error)


def _locked(session: Session, training_id: str) -> Training:
    return session.get_one(Training, training_id, with_for_update=True, populate_existing=True)


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def forget(session: Session) -> int:
    """Delete logs of trainings past their time. Returns how many lines."""
    before = clock.now() - timedelta(days=settings().mlops_keep_days)
    result = session.execute(delete(TrainingLine).where(TrainingLine.at < before))
    return int(result.rowcount)  # type: ignore[attr-defined]
