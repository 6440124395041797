"""A task handed in: its photos are fetched, looked at, and the verdict is told.

The verdict on a task is that of its photos together: not done where one surely shows that, done where all surely do, else
unclear. Whatever stands in the way of looking (no model, no photo, a photo of something else) is "unclear" with its reason:
then a person decides, as they do anyway in the end.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos.laundry.head import Judgement, Verdict
from platform_api.core import clock
from platform_api.core.encryption import DecryptionError
from platform_api.core.errors import Problem
from platform_api.core.events import TransientFailure, publish
from platform_api.core.pagination import page
from platform_api.mlops import stages
from platform_api.mlops.judge import Said, candidate, judge, look
from platform_api.mlops.models import Deployment, Model, ShadowScore
from platform_api.mlops.models import Judgement as Row
from platform_api.mlops.storage import store

log = structlog.get_logger(__name__)

JUDGED = Counter("smartfit_mlops_judged_total", "Tasks judged", ["verdict"])
PHOTOS = Counter("smartfit_mlops_photos_total", "Photos looked at", ["verdict", "reason"])
MODEL = "laundry"


def submitted(session: Session, data: Mapping[str, Any], version: int) -> None:
    """Judge a task (TaskSubmitted) and publish the verdict; a task that was judged is passed over.

    Raises:
        TransientFailure, ServiceUnavailable: the object store or the BentoML service is away for the moment.
    """
    if session.get(Row, data["task_id"]) is not None:
        return
    begun = time.perf_counter()
    live_version = session.scalar(select(Model.live_version).where(Model.model == MODEL))
    trial = stages.on_trial(session, MODEL)
    found = [fetch(photo) for photo in data["photos"]]
    photographs = [photo for photo in found if isinstance(photo, bytes)]
    on_trial = trial if trial is not None and trial.state == "canary" and trial.place == data["branch_id"] else None
    by_canary = _by_canary(session, on_trial, data, photographs) if on_trial is not None else None
    said = by_canary or judge().judge(data["kind"], photographs, live_version)
    looked_at = iter(said.photos)
    verdicts = [next(looked_at) if isinstance(photo, bytes) else photo for photo in found]
    verdict, confidence = together(verdicts)
    photos = [
        {"photo_id": photo["photo_id"], "verdict": v.verdict, "confidence": round(v.confidence, 4), "reason": v.reason}
        for photo, v in zip(data["photos"], verdicts, strict=True)
    ]
    row = Row(
        task_id=data["task_id"],
        branch_id=data["branch_id"],
        kind=data["kind"],
        verdict=verdict,
        confidence=round(confidence, 4),
        model_version=said.model_version,
        photos=photos,
        judged_at=clock.now(),
        milliseconds=round(1000 * (time.perf_counter() - begun), 1),
    )
    session.add(row)
    if trial is not None and trial.state == "shadow":
        session.add(_asked(trial, data, row.verdict, row.milliseconds))
    _announce(session, row, data["helper_id"], version)
    JUDGED.labels(verdict).inc()
    for each in verdicts:
        PHOTOS.labels(each.verdict, each.reason or "").inc()


def _by_canary(
    session: Session, trial: Deployment, data: Mapping[str, Any], photographs: Sequence[bytes]
) -> Said | None:
    """The verdicts of the version on trial; None where it is not ready here, or breaks: the live one judges then."""
    model = candidate().current
    if model is None or model.version != trial.version:
        return None
    try:
        return look(model, data["kind"], photographs)
    except Exception as error:
        log.exception("model_failed", version=model.version, error=type(error).__name__)
        failed = _asked(trial, {**data, "photos": []}, "unclear", 0.0)
        failed.error, failed.scored_at = "model_failed", clock.now()
        session.add(failed)
        return None


def _asked(trial: Deployment, data: Mapping[str, Any], verdict: str, milliseconds: float) -> ShadowScore:
    """The row that asks for a score of the version on trial."""
    photos = [{key: photo[key] for key in ("photo_id", "object_key", "sha256")} for photo in data["photos"]]
    return ShadowScore(
        task_id=data["task_id"],
        version=trial.version,
        kind=data["kind"],
        photos=photos,
        live_verdict=verdict,
        live_milliseconds=milliseconds,
    )


def together(photos: Sequence[Judgement]) -> tuple[Verdict, float]:
    """The verdict on a task and its confidence, from those on its photos."""
    against = [photo.confidence for photo in photos if photo.verdict == "not_done"]
    if against:
        return "not_done", max(against)
    doubtful = [photo.confidence for photo in photos if photo.verdict == "unclear"]
    if doubtful or not photos:
        return "unclear", min(doubtful, default=0.0)
    return "done", min(photo.confidence for photo in photos)


def fetch(photo: Mapping[str, Any]) -> bytes | Judgement:
    """The photo, or why it cannot be looked at."""
    try:
        data = store().get(photo["object_key"], sealed=True)
    except FileNotFoundError as error:
        if not store().is_there():
            raise TransientFailure("the object store is away: there is nothing in it") from error
        return Judgement("unclear", 0.0, "photo_missing")
    except ValueError:
        return Judgement("unclear", 0.0, "photo_missing")
    except DecryptionError:
        return Judgement("unclear", 0.0, "photo_damaged")
    except OSError as error:
        raise TransientFailure(f"the object store is away: {type(error).__name__}") from error
    if hashlib.sha256(data).hexdigest() != photo["sha256"]:
        return Judgement("unclear", 0.0, "photo_damaged")
    return data


def _announce(session: Session, row: Row, helper_id: str, version: int) -> None:
    data = {
        "task_id": row.task_id,
        "branch_id": row.branch_id,
        "helper_id": helper_id,
        "kind": row.kind,
        "verdict": row.verdict,
        "confidence": row.confidence,
        "model_version": row.model_version,
        "judged_at": row.judged_at.isoformat(),
        "photos": row.photos,
    }
    publish(session, "mlops.TaskJudged", subject=row.task_id, version=version + 1, data=data)


def listed(
    session: Session,
    *,
    verdict: str | None,
    kind: str | None,
    model_version: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Row], str | None]:
    """Verdicts, newest first."""
    query = select(Row)
    for column, value in ((Row.verdict, verdict), (Row.kind, kind), (Row.model_version, model_version)):
        if value is not None:
            query = query.where(column == value)
    return page(session, query, [Row.judged_at, Row.task_id], cursor, limit)


def get(session: Session, task_id: str) -> Row:
    """The verdict on a task. Raises 404."""
    found = session.get(Row, task_id)
    if found is None:
        raise Problem(404, "judgement_not_found", "판정 기록이 없습니다.", "There is no verdict on that task.")
    return found
