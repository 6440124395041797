"""What people decided about judged tasks: counted, since it is what the next model learns from, and how good this one is."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.models import Confirmation, Dataset, Judgement, Observation, ShadowScore
from platform_api.mlops.settings import settings


def heard(session: Session, data: Mapping[str, Any], version: int) -> None:
    """Keep a decision (TaskConfirmed); a later version of it replaces an earlier."""
    values = {
        "kind": data["kind"],
        "outcome": data["outcome"],
        "corrected": data["corrected"],
        "label": data["label"],
        "judged_verdict": data["judged_verdict"],
        "model_version": data["model_version"],
        "photos": len(data["photo_labels"]),
        "confirmed_at": datetime.fromisoformat(data["confirmed_at"]),
        "version": version,
    }
    row = insert(Confirmation).values(task_id=data["task_id"], **values)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Confirmation.task_id], set_=values, where=Confirmation.version < version
        )
    )


def counter(session: Session, model: str) -> dict[str, Any]:
    """Decisions since the last data set that holds any. Raises 404 for a model that is not taught by corrections."""
    if not kind_of(model).judges:
        raise Problem(
            404,
            "not_trainable",
            "현장 수정으로 학습하지 않는 모델입니다.",
            "No corrections are counted for this model.",
        )
    since = session.scalar(select(func.max(Dataset.confirmations_through)).where(Dataset.model == model)) or 0
    total, corrected, photos, through = session.execute(
        select(
            func.count(),
            func.count().filter(Confirmation.corrected),
            func.coalesce(func.sum(Confirmation.photos), 0),
            func.max(Confirmation.position),
        ).where(Confirmation.position > since)
    ).one()
    return {
        "model": model,
        "confirmed": total,
        "corrected": corrected,
        "photos": photos,
        "since": since,
        "through": through or since,
        "retrain_after": settings().mlops_retrain_after,
        "due": corrected >= settings().mlops_retrain_after,
    }


def performance(session: Session, model: str, days: int) -> list[dict[str, Any]]:
    """How each version of the judge does in service: what it answered, and how often people agreed. Raises 404."""
    if not kind_of(model).judges:
        raise Problem(404, "not_judging", "판정 기록이 없는 모델입니다.", "This model gives no verdicts on tasks.")
    since = clock.now() - timedelta(days=days)
    answered = Judgement.verdict != "unclear"
    decided = Confirmation.task_id.is_not(None)
    agreed = case((Judgement.verdict == Confirmation.label, 1), else_=0)
    query = (
        select(
            Judgement.model_version,
            Judgement.kind,
            func.count().label("judged"),
            func.count().filter(answered).label("answered"),
            func.count().filter(answered, decided).label("decided"),
            func.coalesce(func.sum(agreed).filter(answered, decided), 0).label("agreed"),
            func.percentile_cont(0.5).within_group(Judgement.milliseconds).label("p50_ms"),
        )
        .outerjoin(Confirmation, Confirmation.task_id == Judgement.task_id)
        .where(Judgement.judged_at >= since)
        .group_by(Judgement.model_version, Judgement.kind)
        .order_by(Judgement.model_version, Judgement.kind)
    )
    return [
        {
            **row._mapping,
            "coverage": row.answered / row.judged,
            "agreement": row.agreed / row.decided if row.decided else None,
        }
        for row in session.execute(query)
    ]


def forget(session: Session) -> int:
    """Delete verdicts, and what was scored and observed beside them, past their time. Returns how many verdicts."""
    before = clock.now() - timedelta(days=settings().mlops_keep_days)
    session.execute(delete(ShadowScore).where(ShadowScore.created_at < before))
    session.execute(delete(Observation).where(Observation.at < before))
    result = session.execute(delete(Judgement).where(Judgement.judged_at < before))
    return int(result.rowcount)  # type: ignore[attr-defined]
