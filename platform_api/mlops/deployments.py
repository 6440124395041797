"""Deploying, sending on and rolling back as they are asked for; a worker carries it out (`rollout`, `trials`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.mlops import catalogue, stages
from platform_api.mlops.bounds import Figures
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.measuring import measure
from platform_api.mlops.models import TRIALS, Deployment, DeploymentStep, Model, Version
from platform_api.mlops.settings import settings
from platform_api.mlops.trials import waits_for


@dataclass(frozen=True)
class Story:
    """A deployment with what became of it. figures: so far in its present state; None where nothing is measured."""

    deployment: Deployment
    steps: list[DeploymentStep]
    figures: Figures | None
    waits_for: str | None


def deploy(
    session: Session, who: Principal, name: str, version: str, reason: str | None, wanted: Sequence[str] | None = None
) -> Deployment:
    """Ask that a version serves.

    Args:
        wanted: the trials that it goes through before; None for those of the settings, empty for none.

    Raises:
        Problem: 404 no such model or version; 409 `already_live`, `version_retired`, `deployment_in_progress`.
    """
    model = catalogue.lock(session, name)
    found = catalogue.version(session, name, version)
    if found.state == "retired":
        raise Problem(409, "version_retired", "폐기된 버전입니다.", "This version is retired.")
    if model.live_version == version:
        raise Problem(409, "already_live", "이미 서비스 중인 버전입니다.", "This version serves already.")
    trials = settings().deployment_stages if wanted is None else wanted
    return _ask(session, who.id, model, version, "deploy", reason, trials)


def roll_back(session: Session, who: Principal, name: str, reason: str) -> Deployment:
    """Withdraw the version that is on its way; where none is, ask that the former one serves again: that which served
    before the present one and was not itself rolled back.

    Raises:
        Problem: 404; 409 `nothing_to_roll_back_to`, `deployment_in_progress`.
    """
    model = catalogue.lock(session, name)
    under_way = stages.open_one(session, name)
    if under_way is not None and under_way.kind == "deploy":
        stages.enter(session, model, under_way, "rolled_back", who.id, reason)
        audit.record(session, who.id, "deployment.withdraw", under_way.deployment_id, {"reason": reason})
        return under_way
    version = former(session, model)
    if version is None:
        raise Problem(
            409,
            "nothing_to_roll_back_to",
            "되돌릴 이전 버전이 없습니다.",
            "No earlier version has served that could serve again.",
        )
    return _ask(session, who.id, model, version, "rollback", reason, ())


def roll_back_by_itself(session: Session, model: Model, reason: str) -> Deployment | None:
    """Ask in the platform's own name that the former version serves again; what is on its way is given up for that.

    Returns None where there is none, or a way back is under way already; `model` is locked.
    """
    version, under_way = former(session, model), stages.open_one(session, model.model)
    if version is None or (under_way is not None and under_way.kind == "rollback"):
        return None
    if under_way is not None:
        stages.enter(session, model, under_way, "cancelled", "system", f"the live version is rolled back: {reason}")
    return _ask(session, "system", model, version, "rollback", reason, ())


def model_story(session: Session, name: str) -> dict[str, Any]:
    """A model, and the version that a way back leads to. Raises Problem 404."""
    model = catalogue.get(session, name)
    own = {column: getattr(model, column) for column in ("model", "live_version", "revision", "updated_at")}
    return {**own, "former_version": former(session, model)}


def former(session: Session, model: Model) -> str | None:
    """The version that a way back leads to."""
    query = (
        select(Deployment.version)
        .join(Version, (Version.model == Deployment.model) & (Version.version == Deployment.version))
        .where(
            Deployment.model == model.model,
            Deployment.state == "superseded",
            Deployment.version != model.live_version,
            Version.state == "available",
        )
        .order_by(Deployment.finished_at.desc())
        .limit(1)
    )
    return session.scalar(query)


def _ask(
    session: Session, by: str, model: Model, version: str, kind: str, reason: str | None, trials: Sequence[str]
) -> Deployment:
    under_way = stages.open_one(session, model.model)
    if under_way is not None:
        raise Problem(
            409,
            "deployment_in_progress",
            "다른 배포가 진행 중입니다. 끝나기를 기다리거나 취소하세요.",
            "Another deployment of this model is under way; wait for it or cancel it.",
            deployment_id=under_way.deployment_id,
        )
    wanted = Deployment(
        model=model.model,
        version=version,
        previous_version=model.live_version,
        kind=kind,
        reason=reason,
        stages=[stage for stage in TRIALS if stage in trials],
        requested_by=by,
    )
    session.add(wanted)
    session.flush()
    stages.note(session, wanted, "requested", by, reason)
    details = {"version": version, "previous_version": model.live_version, "reason": reason, "stages": wanted.stages}
    audit.record(session, by, f"model.{kind}", model.model, {**details, "deployment_id": wanted.deployment_id})
    return wanted


def cancel(session: Session, who: Principal, deployment_id: str) -> Deployment:
    """Take back what does not serve yet.

    Raises:
        Problem: 404; 409 `already_finished`.
    """
    model, found = _locked(session, deployment_id)
    if found.state in stages.OVER or found.state == "live":
        raise Problem(
            409,
            "already_finished",
            "이미 끝난 배포입니다. 되돌리려면 롤백하세요.",
            "This deployment is over; roll back to undo it.",
            state=found.state,
        )
    stages.enter(session, model, found, "cancelled", who.id)
    audit.record(session, who.id, "deployment.cancel", deployment_id)
    return found


def promote(session: Session, who: Principal, deployment_id: str) -> Deployment:
    """Send a version on trial on to what comes next, without waiting for samples.

    Raises:
        Problem: 404; 409 `not_on_trial`.
    """
    _, found = _locked(session, deployment_id)
    if found.state not in TRIALS:
        raise Problem(
            409,
            "not_on_trial",
            "섀도 또는 카나리 단계의 배포만 다음 단계로 보낼 수 있습니다.",
            "Only a deployment in shadow or canary can be sent on.",
            state=found.state,
        )
    found.promoted_by = who.id
    audit.record(session, who.id, "deployment.promote", deployment_id, {"from": found.state})
    return found


def get(session: Session, deployment_id: str) -> Deployment:
    """One deployment. Raises 404."""
    found = session.get(Deployment, deployment_id)
    if found is None:
        raise _none()
    return found


def story(session: Session, deployment_id: str) -> Story:
    """One deployment, what became of it so far, and what it waits for. Raises 404."""
    found = get(session, deployment_id)
    figures = measure(session, found) if found.stage in (*TRIALS, "watching") else None
    return Story(found, stages.steps(session, deployment_id), figures, waits_for(found, figures))


def listed(session: Session, name: str, cursor: str | None, limit: int) -> tuple[list[Deployment], str | None]:
    """The deployments of a model, newest first. Raises 404."""
    kind_of(name)
    query = select(Deployment).where(Deployment.model == name)
    return page(session, query, [Deployment.deployment_id], cursor, limit)


def _locked(session: Session, deployment_id: str) -> tuple[Model, Deployment]:
    found = stages.locked(session, deployment_id)
    if found is None:
        raise _none()
    return found


def _none() -> Problem:
    return Problem(404, "deployment_not_found", "없는 배포입니다.", "There is no such deployment.")
