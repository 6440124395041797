"""Carrying out a deployment, in the worker: built beside what serves, warmed up, swapped, told.

The model is built before the transaction that makes it live, so that nothing waits for it, and the swap itself replaces one
reference. Other workers follow within a second (`follow`). A process that dies on building (out of memory) would die again
and again: after MOST_ATTEMPTS the deployment has failed.
"""

import time
from collections.abc import Callable

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from ml_bentos import registry
from ml_bentos.laundry import package
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.http import ServiceUnavailable
from platform_api.core.security import audit
from platform_api.mlops import catalogue
from platform_api.mlops.judge import InProcess, judge
from platform_api.mlops.judging import MODEL
from platform_api.mlops.kinds import UnknownVersion, kind_of
from platform_api.mlops.models import Deployment, Model, Version

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 3
FAILURES = (UnknownVersion, registry.RegistryError, package.PackageError, ServiceUnavailable, OSError)


def carry_out() -> int:
    """Carry out what is asked for. Returns how many deployments came to an end."""
    with unit_of_work("mlops") as session:
        query = select(Deployment).where(Deployment.state == "requested").order_by(Deployment.deployment_id)
        waiting = list(session.scalars(query.with_for_update(skip_locked=True)))
        for each in waiting:
            each.attempts += 1
    for each in waiting:
        _carry_out(each)
    return len(waiting)


def follow() -> bool:
    """Serve in this process what another worker made live. Returns whether anything changed."""
    serving = judge()
    if not isinstance(serving, InProcess):
        return False
    with unit_of_work("mlops") as session:
        live = session.scalar(select(Model.live_version).where(Model.model == MODEL))
    try:
        changed = serving.follow(live)
    except (registry.RegistryError, package.PackageError) as error:
        # What serves goes on; the next look may find the files.
        log.error("model_unavailable", version=live, error=str(error))
        return False
    if changed:
        log.info("model_swapped", version=live)
    return changed


def _carry_out(wanted: Deployment) -> None:
    try:
        if wanted.attempts > MOST_ATTEMPTS:
            raise UnknownVersion("the worker died on building it, several times")
        begun = time.perf_counter()
        take = _prepare(wanted)
        _make_live(wanted, 1000 * (time.perf_counter() - begun), take)
    except FAILURES as error:
        log.error("deployment_failed", model=wanted.model, version=wanted.version, error=str(error))
        with unit_of_work("mlops") as session:
            failed = session.get_one(Deployment, wanted.deployment_id, with_for_update=True)
            if failed.state == "requested":
                failed.state, failed.error, failed.finished_at = "failed", str(error)[:500], clock.now()
                audit.record(session, "system", "deployment.fail", failed.deployment_id, {"error": str(error)[:500]})


def _prepare(wanted: Deployment) -> Callable[[], None]:
    """Make ready beside what serves. Returns what makes it serve."""
    kind_of(wanted.model).describe(wanted.version)
    if wanted.model == MODEL:
        judge().prepare(wanted.version)
        return lambda: judge().take(wanted.version)
    return lambda: None


def _make_live(wanted: Deployment, prepare_ms: float, take: Callable[[], None]) -> None:
    with unit_of_work("mlops") as session:
        model = catalogue.lock(session, wanted.model)
        deployment = session.get_one(Deployment, wanted.deployment_id, with_for_update=True, populate_existing=True)
        if deployment.state != "requested":
            return  # cancelled meanwhile
        before = model.live_version
        _end_present(session, deployment)
        deployment.state, deployment.finished_at = "live", clock.now()
        deployment.previous_version, deployment.prepare_ms = before, round(prepare_ms, 1)
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


def _end_present(session: Session, by: Deployment) -> None:
    query = select(Deployment).where(Deployment.model == by.model, Deployment.state == "live").with_for_update()
    for present in session.scalars(query):
        present.state = "rolled_back" if by.kind == "rollback" else "superseded"
        # The moment it ended is what the order of ways back goes by.
        present.finished_at = clock.now()
    session.flush()
