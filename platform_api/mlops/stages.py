"""The states of a deployment: each change of one is a row, an event where others go by it, and why, in one transaction.

    requested -> preparing -> shadow -> canary -> live (watched for a while)
                     |           |         |        `-> superseded, rolled_back
                     `-----------+---------`-> failed, cancelled, rolled_back (withdrawn)

The model's row is locked by whoever changes anything, so that workers and people come one after the other.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.events import publish
from platform_api.core.security import audit
from platform_api.mlops import catalogue, held
from platform_api.mlops.models import OPEN, TRIALS, Deployment, DeploymentStep, Judgement, Model, Version

STAGED = ("preparing", *TRIALS)
"""States in which others have been told of the version."""
OVER = ("failed", "cancelled", "rolled_back", "superseded")
BUSY = timedelta(days=30)
LONGEST_REASON = 500


def locked(session: Session, deployment_id: str) -> tuple[Model, Deployment] | None:
    """The deployment and its model, both locked until the transaction ends; None where there is none."""
    name = session.scalar(select(Deployment.model).where(Deployment.deployment_id == deployment_id))
    if name is None:
        return None
    model = catalogue.lock(session, name)
    query = select(Deployment).where(Deployment.deployment_id == deployment_id).with_for_update()
    return model, session.scalars(query.execution_options(populate_existing=True)).one()


def open_one(session: Session, model: str) -> Deployment | None:
    """The deployment of a model that is under way."""
    return session.scalar(select(Deployment).where(Deployment.model == model, Deployment.state.in_(OPEN)))


def on_trial(session: Session, model: str) -> Deployment | None:
    """The deployment of a model whose version is on trial beside the live one."""
    return session.scalar(select(Deployment).where(Deployment.model == model, Deployment.state.in_(TRIALS)))


def following(deployment: Deployment) -> str:
    """The state that comes after the present one when all is well."""
    rest: Sequence[str] = [stage for stage in TRIALS if stage in deployment.stages]
    if deployment.state in TRIALS:
        rest = [stage for stage in rest if TRIALS.index(stage) > TRIALS.index(deployment.state)]
    return rest[0] if rest else "live"


def enter(
    session: Session,
    model: Model,
    deployment: Deployment,
    state: str,
    by: str,
    reason: str | None = None,
    figures: dict[str, Any] | None = None,
) -> None:
    """Bring a deployment into a state; `model` and the deployment are locked. What is over tells that it is withdrawn."""
    before, deployment.state, deployment.since = deployment.state, state, clock.now()
    deployment.promoted_by = deployment.obstacle = deployment.obstacle_since = None
    if state in OVER or state == "live":
        deployment.finished_at = deployment.since
    if state != "live":
        deployment.watch_until = None
    note(session, deployment, state, by, reason, figures)
    if deployment.kind == "deploy" and (state in STAGED or (state in OVER and before in STAGED)):
        if state == "canary":
            deployment.place = _place(session, deployment)
        _announce(session, model, deployment)
    session.flush()


def settle(session: Session, model: Model, deployment: Deployment) -> None:
    """Choose the place of a canary that began while there was none to choose; both are locked."""
    if deployment.state == "canary" and deployment.model == "laundry" and deployment.place is None:
        deployment.place = _place(session, deployment)
        if deployment.place is not None:
            _announce(session, model, deployment)


def note(
    session: Session,
    deployment: Deployment,
    state: str,
    by: str,
    reason: str | None = None,
    figures: dict[str, Any] | None = None,
) -> None:
    """Keep what became of a deployment, and why."""
    number = select(func.coalesce(func.max(DeploymentStep.number), 0) + 1)
    number = number.where(DeploymentStep.deployment_id == deployment.deployment_id)
    step = DeploymentStep(
        deployment_id=deployment.deployment_id,
        number=session.scalar(number),
        state=state,
        by=by,
        reason=reason[:LONGEST_REASON] if reason else None,
        figures=figures or {},
    )
    session.add(step)
    session.flush()


def fail(
    session: Session, model: Model, deployment: Deployment, reason: str, figures: dict[str, Any] | None = None
) -> None:
    """End a deployment that is under way, withdraw its version, and let the operators know why."""
    deployment.error = reason[:LONGEST_REASON]
    enter(session, model, deployment, "failed", "system", reason, figures)
    held.tell(session, model.model, deployment.version, "deployment", deployment.deployment_id, reason)
    audit.record(session, "system", "deployment.fail", deployment.deployment_id, {"error": deployment.error})


def steps(session: Session, deployment_id: str) -> list[DeploymentStep]:
    """What became of a deployment, in order."""
    query = select(DeploymentStep).where(DeploymentStep.deployment_id == deployment_id)
    return list(session.scalars(query.order_by(DeploymentStep.number)))


def _announce(session: Session, model: Model, deployment: Deployment) -> None:
    version = session.get_one(Version, (model.model, deployment.version))
    stage = {"preparing": "candidate", "shadow": "shadow", "canary": "canary"}.get(deployment.state, "withdrawn")
    archive = {
        "object_key": version.archive_key,
        "sha256": version.archive_sha256,
        "bytes": version.archive_bytes,
    }
    model.revision += 1
    data = {
        "model": model.model,
        "version": version.version,
        "stage": stage,
        "live_version": model.live_version,
        "deployment_id": deployment.deployment_id,
        "place": deployment.place if stage == "canary" else None,
        "archive": archive if version.archive_key else None,
        "thresholds": version.details.get("thresholds") if model.model == "face" else None,
        "at": clock.now().isoformat(),
    }
    publish(session, "mlops.ModelStaged", subject=model.model, version=model.revision, data=data)


def _place(session: Session, deployment: Deployment) -> str | None:
    """Where a canary of the photo judge serves: the branch with most tasks. For faces access chooses the gate node."""
    if deployment.model != "laundry":
        return None
    query = select(Judgement.branch_id).where(Judgement.judged_at > clock.now() - BUSY).group_by(Judgement.branch_id)
    return session.scalar(query.order_by(func.count().desc(), Judgement.branch_id).limit(1))
