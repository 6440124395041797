"""A task handed in: its photos are fetched, looked at, and the verdict is told.

The verdict on a task is that of its photos together: not done where one surely shows that, done where all surely do, else
unclear. Whatever stands in the way of looking (no model, no photo, a photo of something else) is "unclear" with its reason:
then a person decides, as they do anyway in the end.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos.laundry.head import Judgement, Verdict
from platform_api.core import clock
from platform_api.core.encryption import DecryptionError
from platform_api.core.errors import Problem
from platform_api.core.events import TransientFailure, publish
from platform_api.core.pagination import page
from platform_api.core.storage import ObjectStore
from platform_api.mlops.judge import judge
from platform_api.mlops.models import Judgement as Row
from platform_api.mlops.models import Model
from platform_api.mlops.settings import settings

JUDGED = Counter("smartfit_mlops_judged_total", "Tasks judged", ["verdict"])
PHOTOS = Counter("smartfit_mlops_photos_total", "Photos looked at", ["verdict", "reason"])
MODEL = "laundry"


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


def submitted(session: Session, data: Mapping[str, Any], version: int) -> None:
    """Judge a task (TaskSubmitted) and publish the verdict; a task that was judged is passed over.

    Raises:
        TransientFailure, ServiceUnavailable: the object store or the BentoML service is away for the moment.
    """
    if session.get(Row, data["task_id"]) is not None:
        return
    begun = time.perf_counter()
    live_version = session.scalar(select(Model.live_version).where(Model.model == MODEL))
    found = [_fetch(photo) for photo in data["photos"]]
    said = judge().judge(data["kind"], [photo for photo in found if isinstance(photo, bytes)], live_version)
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
    _announce(session, row, data["helper_id"], version)
    JUDGED.labels(verdict).inc()
    for each in verdicts:
        PHOTOS.labels(each.verdict, each.reason or "").inc()


def together(photos: Sequence[Judgement]) -> tuple[Verdict, float]:
    """The verdict on a task and its confidence, from those on its photos."""
    against = [photo.confidence for photo in photos if photo.verdict == "not_done"]
    if against:
        return "not_done", max(against)
    doubtful = [photo.confidence for photo in photos if photo.verdict == "unclear"]
    if doubtful or not photos:
        return "unclear", min(doubtful, default=0.0)
    return "done", min(photo.confidence for photo in photos)


def _fetch(photo: Mapping[str, Any]) -> bytes | Judgement:
    """The photo, or why it cannot be looked at."""
    try:
        data = store().get(photo["object_key"], sealed=True)
    except (FileNotFoundError, ValueError):
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
