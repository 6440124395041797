"""The shadow of the photo judge: a version on trial looks at the photos of tasks that have their verdict already.

The row that asks for it is written with the verdict; the looking comes after, in a job of its own, so that nothing which the
version on trial does can delay a verdict or spoil it.
"""

import time

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ml_bentos.laundry import package
from ml_bentos.laundry.model import LaundryModel
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events import TransientFailure
from platform_api.mlops import judging, stages
from platform_api.mlops.judge import UNLOADABLE, candidate, look
from platform_api.mlops.models import ShadowScore

log = structlog.get_logger(__name__)

AT_A_TIME = 20


def score() -> int:
    """Score what waits. Returns how many were scored; what is left waits for the next time."""
    with unit_of_work("mlops") as session:
        trial = stages.on_trial(session, package.KIND)
        version = trial.version if trial is not None and trial.state == "shadow" else None
        # Nobody asks for them any more.
        session.execute(
            delete(ShadowScore).where(ShadowScore.scored_at.is_(None), ShadowScore.version != (version or ""))
        )
    if version is None:
        return 0
    try:
        candidate().follow(version)
    except UNLOADABLE as error:
        log.error("candidate_unavailable", version=version, error=str(error))
        return 0  # `rollout.follow` ends the deployment
    model, done = candidate().current, 0
    while model is not None and done < AT_A_TIME and _score_next(model):
        done += 1
    return done


def _score_next(model: LaundryModel) -> bool:
    waiting = select(ShadowScore).where(ShadowScore.scored_at.is_(None), ShadowScore.version == model.version)
    try:
        with unit_of_work("mlops") as session:
            row = session.scalar(waiting.order_by(ShadowScore.created_at).limit(1).with_for_update(skip_locked=True))
            if row is None:
                return False
            _score(session, model, row)
    except TransientFailure:
        return False  # the object store is away
    return True


def _score(session: Session, model: LaundryModel, row: ShadowScore) -> None:
    begun = time.perf_counter()
    found = [judging.fetch(photo) for photo in row.photos]
    photos = [photo for photo in found if isinstance(photo, bytes)]
    row.scored_at = clock.now()
    # Of no use any more.
    row.photos = []
    if len(photos) < len(found):
        row.error = "photo_missing"
        return
    try:
        said = look(model, row.kind, photos)
    except Exception as error:
        log.exception("model_failed", version=model.version, error=type(error).__name__)
        row.error = "model_failed"
        return
    verdict, confidence = judging.together(said.photos)
    row.verdict, row.confidence = verdict, round(confidence, 4)
    row.milliseconds = round(1000 * (time.perf_counter() - begun), 1)
    if "unclear" not in (verdict, row.live_verdict):
        row.agreed = verdict == row.live_verdict
    session.flush()
