"""Trainings run and watched, in the worker: started when there is room, followed line by line, ended, registered."""

import json
import socket
from datetime import timedelta
from functools import cache
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem
from platform_api.core.security import audit
from platform_api.core.settings import SettingsError
from platform_api.mlops import catalogue
from platform_api.mlops.models import Dataset, Training, TrainingLine
from platform_api.mlops.runner import Look, Runner, SubprocessRunner
from platform_api.mlops.settings import settings

log = structlog.get_logger(__name__)

RUNNING = ("running", "cancelling")


@cache
def runner() -> Runner:
    """What runs the trainings of this host. Raises SettingsError where there is no folder for them."""
    return SubprocessRunner(settings().work_dir)


def supervise() -> None:
    """Look after every training once."""
    host = socket.gethostname()
    with unit_of_work("mlops") as session:
        _give_up_lost(session, host)
        mine = list(
            session.scalars(select(Training.training_id).where(Training.state.in_(RUNNING), Training.host == host))
        )
    for training_id in mine:
        _watch(training_id)
    while _start_next(host):
        pass


def _start_next(host: str) -> bool:
    with unit_of_work("mlops") as session:
        running = session.scalar(
            select(func.count()).select_from(Training).where(Training.state.in_(RUNNING), Training.host == host)
        )
        if (running or 0) >= settings().mlops_trainings_at_once:
            return False
        query = select(Training).where(Training.state == "queued").order_by(Training.requested_at).limit(1)
        training = session.scalars(query.with_for_update(skip_locked=True)).first()
        if training is None:
            return False
        dataset = session.get_one(Dataset, training.dataset_id)
        training.state, training.host, training.message = "running", host, "starting"
        training.started_at = training.heartbeat_at = clock.now()
    try:
        runner().start(training.training_id, training.model, dataset.name)
    except (OSError, SettingsError) as error:
        with unit_of_work("mlops") as session:
            _end(session, _locked(session, training.training_id), "failed", f"cannot start: {error}")
    else:
        log.info("training_started", training_id=training.training_id)
    return True


def _watch(training_id: str) -> None:
    with unit_of_work("mlops") as session:
        training = _locked(session, training_id)
        if training.state not in RUNNING:
            return
        seen = runner().look(training_id, training.log_offset)
        _take_down(session, training, seen)
        training.heartbeat_at = clock.now()
        overdue = _overdue(training)
        if seen.alive:
            if training.state == "cancelling" or overdue:
                runner().stop(training_id, kill=_waited_enough(training))
            return
        told = training.result or {}
        if "version" in told:
            _succeed(session, training, str(told["version"]))
        elif training.state == "cancelling":
            _end(session, training, "cancelled", None)
        elif overdue:
            _end(session, training, "failed", f"ended after {settings().mlops_training_max_hours:g} hours")
        else:
            _end(session, training, "failed", str(told.get("error", "the process ended without a result (killed?)")))
    runner().clean(training_id)


def _take_down(session: Session, training: Training, seen: Look) -> None:
    """Keep what the run wrote: progress, log, and its result or error."""
    for line in seen.lines:
        document = _document(line)
        if "version" in document or "error" in document:
            training.result = document
        if isinstance(share := document.get("progress"), int | float):
            training.progress = min(max(float(share), training.progress), 1.0)
            training.message = str(document.get("message", ""))[:500]
        if training.log_lines < settings().mlops_training_log_lines:
            training.log_lines += 1
            shown = str(document.get("message") or document.get("error") or line).replace("\x00", "")
            session.add(TrainingLine(training_id=training.training_id, number=training.log_lines, text=shown))
    training.log_offset = seen.offset


def _document(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _succeed(session: Session, training: Training, version: str) -> None:
    try:
        with session.begin_nested():
            found, is_new = catalogue.register(
                session, training.model, version, training.requested_by, training.training_id
            )
    except Problem as problem:
        _end(session, training, "failed", problem.detail_en)
        return
    training.version, training.progress = found.version, 1.0
    training.message = "done" if is_new else "the same data and head as a version that is there already"
    _end(session, training, "succeeded", None)


def _end(session: Session, training: Training, state: str, error: str | None) -> None:
    training.state, training.error, training.finished_at = state, error and error[:1000], clock.now()
    details = {"state": state, "version": training.version, "error": training.error}
    audit.record(session, "system", "training.end", training.training_id, details)
    log.info("training_ended", training_id=training.training_id, state=state, error=error)


def _give_up_lost(session: Session, host: str) -> None:
    """Those of a host that says nothing any more."""
    before = clock.now() - timedelta(seconds=settings().mlops_training_lost_s)
    lost = select(Training).where(Training.state.in_(RUNNING), Training.host != host, Training.heartbeat_at < before)
    for training in session.scalars(lost.with_for_update(skip_locked=True)):
        state = "cancelled" if training.state == "cancelling" else "failed"
        _end(session, training, state, f"its host {training.host} is gone")


def _overdue(training: Training) -> bool:
    started = training.started_at or training.requested_at
    return clock.now() - started > timedelta(hours=settings().mlops_training_max_hours)


def _waited_enough(training: Training) -> bool:
    asked = training.cancel_requested_at
    return asked is None or clock.now() - asked > timedelta(seconds=settings().mlops_training_grace_s)


def _locked(session: Session, training_id: str) -> Training:
    return session.get_one(Training, training_id, with_for_update=True, populate_existing=True)


def forget(session: Session) -> int:
    """Delete logs of trainings past their time. Returns how many lines."""
    before = clock.now() - timedelta(days=settings().mlops_keep_days)
    result = session.execute(delete(TrainingLine).where(TrainingLine.at < before))
    return int(result.rowcount)  # type: ignore[attr-defined]
