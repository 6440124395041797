"""Figures of a version on trial or newly live: out of verdicts and shadow scores (photo judge), or reports of edges (faces)."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from platform_api.mlops.bounds import Figures
from platform_api.mlops.models import Confirmation, Deployment, Judgement, Observation, ShadowScore

FORMER = timedelta(days=7)
"""How far back the other version's figures reach."""


def measure(session: Session, deployment: Deployment) -> Figures:
    """How the version did since the deployment is in its present state."""
    laundry = deployment.model == "laundry"
    if deployment.state == "shadow":
        return _laundry_shadow(session, deployment) if laundry else _face(session, deployment, "shadow")
    if deployment.state == "canary":
        return _laundry(session, deployment) if laundry else _face(session, deployment, "canary")
    return _laundry(session, deployment) if laundry else _face(session, deployment, "live")


def _laundry_shadow(session: Session, deployment: Deployment) -> Figures:
    score = ShadowScore
    broke = score.error == "model_failed"
    contradicted = score.agreed.is_(False)
    row = session.execute(
        select(
            func.count().filter(or_(score.verdict.is_not(None), broke)).label("samples"),
            func.count().filter(broke).label("errors"),
            func.count(score.verdict).label("said"),
            func.count().filter(score.verdict != "unclear").label("sure"),
            func.count().filter(score.verdict.is_not(None), score.live_verdict != "unclear").label("live_sure"),
            func.percentile_cont(0.5).within_group(score.milliseconds).label("p50"),
            func.percentile_cont(0.5).within_group(score.live_milliseconds).label("live_p50"),
            func.count(score.agreed).label("compared"),
            func.count().filter(score.agreed.is_(True)).label("agreed"),
            func.count().filter(contradicted, score.verdict == Confirmation.label).label("right"),
            func.count().filter(contradicted, score.live_verdict == Confirmation.label).label("live_right"),
        )
        .outerjoin(Confirmation, Confirmation.task_id == score.task_id)
        .where(
            score.version == deployment.version,
            score.created_at >= deployment.since,
            score.scored_at.is_not(None),
        )
    ).one()
    return Figures(
        samples=row.samples,
        errors=row.errors,
        rate=_share(row.sure, row.said),
        p50_ms=row.p50,
        reference_samples=row.said,
        reference_rate=_share(row.live_sure, row.said),
        reference_p50_ms=row.live_p50,
        compared=row.compared,
        agreed=row.agreed,
        candidate_right=row.right,
        live_right=row.live_right,
    )


def _laundry(session: Session, deployment: Deployment) -> Figures:
    """A canary or live version, by the verdicts it gave; beside the version that served before it."""
    own = _judged(session, deployment.version, deployment.since)
    other = _judged(session, deployment.previous_version, deployment.since - FORMER)
    # A canary that breaks on a task leaves it to the live version, and a row of its own; a live one gives no version.
    broken = select(func.count()).where(
        ShadowScore.version == deployment.version,
        ShadowScore.created_at >= deployment.since,
        ShadowScore.error == "model_failed",
    )
    if deployment.state == "live":
        unavailable = and_(
            Judgement.model_version.is_(None), Judgement.photos.contains([{"reason": "model_unavailable"}])
        )
        broken = select(func.count()).where(Judgement.judged_at >= deployment.since, unavailable)
    errors = session.scalar(broken) or 0
    return Figures(
        samples=own["samples"] + errors,
        errors=own["errors"] + errors,
        rate=own["rate"],
        p50_ms=own["p50_ms"],
        **{f"reference_{name}": other[name] for name in ("samples", "rate", "p50_ms")},
    )


def _judged(session: Session, version: str | None, since: datetime) -> dict[str, Any]:
    a_photo: ColumnElement[float] = Judgement.milliseconds / func.greatest(func.jsonb_array_length(Judgement.photos), 1)
    failed = Judgement.photos.contains([{"reason": "model_failed"}])
    row = session.execute(
        select(
            func.count().label("samples"),
            func.count().filter(failed).label("errors"),
            func.count().filter(Judgement.verdict != "unclear").label("sure"),
            func.percentile_cont(0.5).within_group(a_photo).label("p50"),
        ).where(Judgement.model_version == version, Judgement.judged_at >= since)
    ).one()
    return {
        "samples": row.samples,
        "errors": row.errors,
        "rate": _share(row.sure, row.samples),
        "p50_ms": row.p50,
    }


def _face(session: Session, deployment: Deployment, stage: str) -> Figures:
    own = _reported(session, deployment.model, deployment.version, stage, deployment.since)
    back = FORMER if stage == "live" else timedelta(0)
    other = _reported(session, deployment.model, deployment.previous_version, "live", deployment.since - back)
    shadow = stage == "shadow"
    return Figures(
        samples=own["samples"],
        errors=own["errors"],
        rate=own["rate"],
        p50_ms=own["p50_ms"],
        compared=own["samples"] - own["errors"] if shadow else 0,
        agreed=own["agreed"] if shadow else 0,
        **{f"reference_{name}": other[name] for name in ("samples", "rate", "p50_ms")},
    )


def _reported(session: Session, model: str, version: str | None, stage: str, since: datetime) -> dict[str, Any]:
    seen = Observation
    timed = seen.milliseconds_p50.is_not(None)
    row = session.execute(
        select(
            func.coalesce(func.sum(seen.frames), 0).label("frames"),
            func.coalesce(func.sum(seen.agreed), 0).label("agreed"),
            func.coalesce(func.sum(seen.accepted), 0).label("accepted"),
            func.coalesce(func.sum(seen.errors), 0).label("errors"),
            func.sum(seen.milliseconds_p50 * seen.frames).filter(timed).label("weighted"),
            func.sum(seen.frames).filter(timed).label("timed"),
        ).where(seen.model == model, seen.version == version, seen.stage == stage, seen.at >= since)
    ).one()
    return {
        "samples": int(row.frames),
        "agreed": int(row.agreed),
        "errors": int(row.errors),
        "rate": _share(row.accepted, row.frames),
        # Of medians, weighted by their frames: near enough to the median to see a slow model.
        "p50_ms": float(row.weighted / row.timed) if row.timed else None,
    }


def _share(part: int, whole: int) -> float | None:
    return float(part) / float(whole) if whole else None
