"""Carrying out deployments, in the worker: built beside what serves, tried, swapped, told, watched.

A model is built before the transaction that makes it live, so that nothing waits for it, and the swap itself replaces one
reference. Other workers follow within a second (`follow`). Each step is a transaction that looks again at what it finds, so
a worker that dies leaves something that the next one goes on with. One that dies on building (out of memory) would die again
and again: after MOST_ATTEMPTS the deployment has failed. What is away for the moment (the object store) is asked again for
`deployment_patience_minutes`; what must not be used fails at once.
"""

import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos import registry
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.http import ServiceUnavailable
from platform_api.core.security import audit
from platform_api.mlops import catalogue, deployments, held, packages, stages, trials
from platform_api.mlops.judge import UNLOADABLE, InProcess, candidate, judge
from platform_api.mlops.judging import MODEL
from platform_api.mlops.kinds import UnknownVersion, kind_of
from platform_api.mlops.measuring import measure
from platform_api.mlops.models import TRIALS, Deployment, Model, Version
from platform_api.mlops.settings import settings
from platform_api.mlops.storage import store

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 3
FAILURES = (*UNLOADABLE, UnknownVersion, OSError)
AWAY = (ServiceUnavailable, OSError)


class NotNow(Exception):
    """What is needed cannot be reached for the moment."""


def carry_out() -> int:
    """Carry out what is asked for. Returns how many deployments were looked at."""
    with unit_of_work("mlops") as session:
        query = select(Deployment.deployment_id).where(Deployment.state.in_(("requested", "preparing")))
        waiting = list(session.scalars(query.order_by(Deployment.deployment_id)))
    for each in waiting:
        _carry_out(each)
    return len(waiting)


def evaluate() -> int:
    """Send versions on trial on, or end them; end watches. Returns how many deployments changed."""
    with unit_of_work("mlops") as session:
        on_trial = list(session.scalars(select(Deployment.deployment_id).where(Deployment.state.in_(TRIALS))))
        query = select(Deployment.deployment_id).where(Deployment.state == "live", Deployment.watch_until.is_not(None))
        watched = list(session.scalars(query))
    return sum([_evaluate(each) for each in on_trial] + [_watch(each) for each in watched])


def follow() -> bool:
    """Serve in this process what another worker made live, and hold what is on trial. Returns whether what serves changed."""
    with unit_of_work("mlops") as session:
        live = session.scalar(select(Model.live_version).where(Model.model == MODEL))
        trial = stages.on_trial(session, MODEL)
    try:
        candidate().follow(trial.version if trial is not None else None)
    except ServiceUnavailable as error:
        log.error("candidate_unavailable", error=str(error))
    except UNLOADABLE as error:
        assert trial is not None
        _fail(trial.deployment_id, trial.state, f"the version cannot be loaded: {error}")
    serving = judge()
    if not isinstance(serving, InProcess):
        return False
    try:
        changed = serving.follow(live)
    except UNLOADABLE as error:
        # What serves goes on; the next look may find the files.
        log.error("model_unavailable", version=live, error=str(error))
        return False
    if changed:
        log.info("model_swapped", version=live)
    return changed


def _carry_out(deployment_id: str) -> None:
    wanted = _claim(deployment_id)
    if wanted is None:
        return
    try:
        if wanted.attempts > MOST_ATTEMPTS:
            raise UnknownVersion("the worker died on building it, several times")
        begun = time.perf_counter()
        take = _prepare(wanted)
        prepare_ms = 1000 * (time.perf_counter() - begun)
        if wanted.kind == "deploy" and wanted.previous_version is not None and stages.following(wanted) != "live":
            _try_out(wanted, prepare_ms)
        else:
            _make_live(wanted, prepare_ms, take, "prepared")
    except NotNow as error:
        _hold_up(deployment_id, "preparing", str(error))
    except FAILURES as error:
        _fail(deployment_id, "preparing", str(error))


def _claim(deployment_id: str) -> Deployment | None:
    """Take it up, or go on with it where a worker died; None where somebody else ended it."""
    with unit_of_work("mlops") as session:
        found = stages.locked(session, deployment_id)
        if found is None or found[1].state not in ("requested", "preparing"):
            return None
        model, wanted = found
        wanted.attempts += 1
        if wanted.state == "requested":
            # What serves may have changed since it was asked for.
            wanted.previous_version = model.live_version
            stages.enter(session, model, wanted, "preparing", "system")
        return wanted


def _prepare(wanted: Deployment) -> Callable[[], None]:
    """Make ready beside what serves. Returns what makes it serve. Raises NotNow, or whatever makes the deployment fail."""
    with unit_of_work("mlops") as session:
        version = session.get_one(Version, (wanted.model, wanted.version))
    try:
        if version.archive_key is not None:
            # What was registered must still be what lies there, signed by whom we trust, whatever this machine's store holds.
            packages.bring(store(), wanted.model, wanted.version, version.archive_sha256)
        kind_of(wanted.model).describe(wanted.version)
        if wanted.model == MODEL:
            judge().prepare(wanted.version)
            return lambda: judge().take(wanted.version)
    except AWAY as error:
        raise NotNow(str(error)) from error
    return lambda: None


def _try_out(wanted: Deployment, prepare_ms: float) -> None:
    with unit_of_work("mlops") as session:
        found = stages.locked(session, wanted.deployment_id)
        if found is None or found[1].state != "preparing":
            return  # cancelled meanwhile
        model, deployment = found
        deployment.prepare_ms = round(prepare_ms, 1)
        state = stages.following(deployment)
        stages.enter(session, model, deployment, state, "system", "prepared and verified")
    log.info("model_on_trial", model=wanted.model, version=wanted.version, stage=state)


def _evaluate(deployment_id: str) -> bool:
    with unit_of_work("mlops") as session:
        found = stages.locked(session, deployment_id)
        if found is None or found[1].state not in TRIALS:
            return False
        model, deployment = found
        stages.settle(session, model, deployment)
        figures = measure(session, deployment)
        decision = trials.decide(deployment, figures)
        if decision.outcome == "wait":
            return False
        if decision.outcome == "fail":
            log.error("trial_failed", model=model.model, version=deployment.version, reason=decision.reason)
            stages.fail(session, model, deployment, decision.reason, figures.as_json())
            return True
        if stages.following(deployment) != "live":
            by = deployment.promoted_by or "system"
            stages.enter(session, model, deployment, "canary", by, decision.reason, figures.as_json())
            return True
    try:
        _make_live(deployment, deployment.prepare_ms or 0.0, _prepare(deployment), decision.reason, figures.as_json())
    except NotNow as error:
        return _hold_up(deployment_id, deployment.state, str(error))
    except FAILURES as error:
        _fail(deployment_id, deployment.state, str(error))
    return True


def _make_live(
    wanted: Deployment,
    prepare_ms: float,
    take: Callable[[], None],
    reason: str,
    figures: dict[str, object] | None = None,
) -> None:
    with unit_of_work("mlops") as session:
        found = stages.locked(session, wanted.deployment_id)
        if found is None or found[1].state != wanted.state:
            return  # cancelled meanwhile
        model, deployment = found
        before = model.live_version
        _end_present(session, model, deployment)
        by = deployment.promoted_by or "system"
        deployment.previous_version, deployment.prepare_ms = before, round(prepare_ms, 1)
        stages.enter(session, model, deployment, "live", by, reason, figures)
        if deployment.kind == "deploy" and before is not None and settings().watch_minutes > 0:
            deployment.watch_until = clock.now() + timedelta(minutes=settings().watch_minutes)
        model.live_version = deployment.version
        version = session.get_one(Version, (wanted.model, wanted.version))
        event = "ModelRolledBack" if deployment.kind == "rollback" else "ModelDeployed"
        catalogue.announce(session, model, event, version, before, deployment.requested_by)
        audit.record(session, "system", "model.live", wanted.model, {"version": wanted.version, "was": before})
        session.flush()
        try:
            # Last of all, when the database has agreed to everything but the commit.
            take()
        except FAILURES:
            if before is not None and registry.models_dir() is not None:
                registry.set_live(wanted.model, before)
            raise
        if registry.models_dir() is not None:
            # For those who do not ask the database: the BentoML services.
            registry.set_live(wanted.model, wanted.version)
    log.info("model_live", model=wanted.model, version=wanted.version, was=before)


def _watch(deployment_id: str) -> bool:
    with unit_of_work("mlops") as session:
        found = stages.locked(session, deployment_id)
        if found is None or found[1].stage != "watching":
            return False
        model, deployment = found
        figures = measure(session, deployment)
        decision = trials.decide_watched(deployment, figures)
        if decision.outcome == "wait":
            return False
        deployment.watch_until = None
        stages.note(session, deployment, "live", "system", decision.reason, figures.as_json())
        if decision.outcome == "fail":
            log.error("model_out_of_bounds", model=model.model, version=deployment.version, reason=decision.reason)
            deployments.roll_back_by_itself(session, model, decision.reason)
            held.tell(session, model.model, deployment.version, "deployment", deployment_id, decision.reason)
        return True


def _hold_up(deployment_id: str, state: str, obstacle: str) -> bool:
    """Let a deployment be tried again, unless its patience is over. Returns whether it has failed."""
    patience = settings().deployment_patience_minutes
    with unit_of_work("mlops") as session:
        found = stages.locked(session, deployment_id)
        if found is None or found[1].state != state:
            return False
        model, deployment = found
        first = deployment.obstacle_since is None
        deployment.obstacle = obstacle[: stages.LONGEST_REASON]
        deployment.obstacle_since = deployment.obstacle_since or clock.now()
        # Nobody died on it.
        deployment.attempts = max(0, deployment.attempts - 1)
        over = clock.now() - deployment.obstacle_since >= timedelta(minutes=patience)
        if over:
            stages.fail(session, model, deployment, f"not reached for {patience:g} min: {obstacle}")
        if first or over:
            log.error("deployment_held_up", model=model.model, version=deployment.version, error=obstacle, failed=over)
        return over


def _fail(deployment_id: str, state: str, reason: str) -> None:
    """End a deployment, unless it has left `state` meanwhile."""
    with unit_of_work("mlops") as session:
        found = stages.locked(session, deployment_id)
        if found is not None and found[1].state == state:
            log.error("deployment_failed", model=found[0].model, version=found[1].version, error=reason)
            stages.fail(session, *found, reason)


def _end_present(session: Session, model: Model, by: Deployment) -> None:
    query = select(Deployment).where(Deployment.model == by.model, Deployment.state == "live").with_for_update()
    for present in session.scalars(query):
        # The moment it ended (finished_at) is what the order of ways back goes by.
        stages.enter(session, model, present, "rolled_back" if by.kind == "rollback" else "superseded", "system")
