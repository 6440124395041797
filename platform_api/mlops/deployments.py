"""Deploying and rolling back as they are asked for; a worker carries it out (`rollout`)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.mlops import catalogue
from platform_api.mlops.kinds import kind_of
from platform_api.mlops.models import Deployment, Model, Version


def deploy(session: Session, who: Principal, name: str, version: str, reason: str | None) -> Deployment:
    """Ask that a version serves.

    Raises:
        Problem: 404 no such model or version; 409 `already_live`, `version_retired`, `deployment_in_progress`.
    """
    model = catalogue.lock(session, name)
    wanted = catalogue.version(session, name, version)
    if wanted.state == "retired":
        raise Problem(409, "version_retired", "폐기된 버전입니다.", "This version is retired.")
    if model.live_version == version:
        raise Problem(409, "already_live", "이미 서비스 중인 버전입니다.", "This version serves already.")
    return _ask(session, who, model, version, "deploy", reason)


def roll_back(session: Session, who: Principal, name: str, reason: str | None) -> Deployment:
    """Ask that the version serves again which served before the present one and was not itself rolled back.

    Raises:
        Problem: 404; 409 `nothing_to_roll_back_to`, `deployment_in_progress`.
    """
    model = catalogue.lock(session, name)
    query = (
        select(Deployment.version)
        .join(Version, (Version.model == Deployment.model) & (Version.version == Deployment.version))
        .where(
            Deployment.model == name,
            Deployment.state == "superseded",
            Deployment.version != model.live_version,
            Version.state == "available",
        )
        .order_by(Deployment.finished_at.desc())
        .limit(1)
    )
    version = session.scalar(query)
    if version is None:
        raise Problem(
            409,
            "nothing_to_roll_back_to",
            "되돌릴 이전 버전이 없습니다.",
            "No earlier version has served that could serve again.",
        )
    return _ask(session, who, model, version, "rollback", reason)


def _ask(session: Session, who: Principal, model: Model, version: str, kind: str, reason: str | None) -> Deployment:
    open_one = session.scalar(
        select(Deployment.deployment_id).where(Deployment.model == model.model, Deployment.state == "requested")
    )
    if open_one is not None:
        raise Problem(
            409,
            "deployment_in_progress",
            "다른 배포가 진행 중입니다. 끝나기를 기다리거나 취소하세요.",
            "Another deployment of this model is under way; wait for it or cancel it.",
            deployment_id=open_one,
        )
    wanted = Deployment(
        model=model.model,
        version=version,
        previous_version=model.live_version,
        kind=kind,
        reason=reason,
        requested_by=who.id,
    )
    session.add(wanted)
    session.flush()
    details = {"version": version, "previous_version": model.live_version, "reason": reason}
    audit.record(session, who.id, f"model.{kind}", model.model, {**details, "deployment_id": wanted.deployment_id})
    return wanted


def cancel(session: Session, who: Principal, deployment_id: str) -> Deployment:
    """Take back what no worker has carried out yet.

    Raises:
        Problem: 404; 409 `already_finished`.
    """
    query = select(Deployment).where(Deployment.deployment_id == deployment_id).with_for_update()
    found = session.scalars(query).one_or_none()
    if found is None:
        raise _none()
    if found.state != "requested":
        raise Problem(
            409,
            "already_finished",
            "이미 끝난 배포입니다. 되돌리려면 롤백하세요.",
            "This deployment is over; roll back to undo it.",
            state=found.state,
        )
    found.state, found.finished_at = "cancelled", clock.now()
    audit.record(session, who.id, "deployment.cancel", deployment_id)
    return found


def get(session: Session, deployment_id: str) -> Deployment:
    """One deployment. Raises 404."""
    found = session.get(Deployment, deployment_id)
    if found is None:
        raise _none()
    return found


def listed(session: Session, name: str, cursor: str | None, limit: int) -> tuple[list[Deployment], str | None]:
    """The deployments of a model, newest first. Raises 404."""
    kind_of(name)
    query = select(Deployment).where(Deployment.model == name)
    return page(session, query, [Deployment.deployment_id], cursor, limit)


def _none() -> Problem:
    return Problem(404, "deployment_not_found", "없는 배포입니다.", "There is no such deployment.")
