"""HTTP of the mlops domain: models, versions, deployments and verdicts here; data sets and trainings in their module."""

from typing import Any

from flask import Flask, url_for

from platform_api.core.schemas import IfMatch, PageQuery, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.mlops import (
    audits,
    catalogue,
    confirmations,
    deployments,
    judging,
    personal,
    routes_audits,
    routes_training,
    schemas,
)
from platform_api.mlops.models import Deployment, Judgement
from platform_api.mlops.settings import settings
from platform_api.mlops.storage import store

blp = blueprint("mlops", "/mlops/v1", "Models: versions, deployments, verdicts and how people decided")
blueprints = [blp, personal.blp, *routes_training.blueprints, *routes_audits.blueprints]
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, store, audits.pseudonyms):
        cached.cache_clear()
    settings()
    store()


@blp.get("/models")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.ModelPage)
def list_models() -> dict[str, Any]:
    """The models of the platform and what serves."""
    return {"items": catalogue.listed(current_session()), "next_cursor": None}


@blp.get("/models/<model>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.ModelStory)
def get_model(model: str) -> dict[str, Any]:
    """One model, what serves, and what would serve if it were rolled back."""
    return deployments.model_story(current_session(), model)


@blp.get("/models/<model>/versions")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(schemas.VersionQuery, location="query")
@blp.response(200, schemas.VersionPage)
def list_versions(query: dict[str, Any], model: str) -> dict[str, Any]:
    """The versions of a model, newest first."""
    items, cursor = catalogue.versions(current_session(), model, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/models/<model>/versions")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas.NewVersion)
@blp.response(201, schemas.VersionSchema)
@blp.alt_response(200, schema=schemas.VersionSchema, description="It is there already.")
def register_version(wanted: dict[str, Any], model: str) -> Any:
    """Take a version from the model store into the catalogue; 200 where it is there already."""
    found, created = catalogue.register(current_session(), model, wanted["version"], principal().id, wanted["run_id"])
    return tagged(found, found.revision, 201 if created else 200)


@blp.get("/models/<model>/versions/<version>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.VersionSchema)
def get_version(model: str, version: str) -> Any:
    """One version with its figures, and its ETag."""
    found = catalogue.version(current_session(), model, version)
    return tagged(found, found.revision)


@blp.patch("/models/<model>/versions/<version>")
@require("operator")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas.VersionChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.VersionSchema)
def edit_version(wanted: dict[str, Any], headers: dict[str, Any], model: str, version: str) -> Any:
    """Note something about a version, or retire it."""
    found = catalogue.edit(current_session(), principal(), model, version, wanted, headers["if_match"])
    return tagged(found, found.revision)


@blp.get("/models/<model>/deployments")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.DeploymentPage)
def list_deployments(query: dict[str, Any], model: str) -> dict[str, Any]:
    """The deployments of a model, newest first."""
    items, cursor = deployments.listed(current_session(), model, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/models/<model>/deployments")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas.NewDeployment)
@blp.response(202, schemas.DeploymentSchema)
def deploy(wanted: dict[str, Any], model: str) -> Any:
    """Let a version serve, after its trials; Location names what to look at meanwhile."""
    asked = deployments.deploy(
        current_session(), principal(), model, wanted["version"], wanted["reason"], wanted["stages"]
    )
    return _accepted(asked)


@blp.post("/models/<model>/rollback")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas.Rollback)
@blp.response(202, schemas.DeploymentSchema)
def roll_back(wanted: dict[str, str], model: str) -> Any:
    """Withdraw the version that is on its way, at once; where none is, let the one serve again that served before."""
    return _accepted(deployments.roll_back(current_session(), principal(), model, wanted["reason"]))


def _accepted(found: Deployment) -> tuple[Deployment, int, dict[str, str]]:
    return found, 202, {"Location": url_for("mlops.get_deployment", deployment_id=found.deployment_id)}


@blp.get("/deployments/<deployment_id>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.DeploymentStory)
def get_deployment(deployment_id: str) -> deployments.Story:
    """How far a deployment is: its stage, the figures so far, what it waits for, and what became of it."""
    return deployments.story(current_session(), deployment_id)


@blp.post("/deployments/<deployment_id>/cancel")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.response(200, schemas.DeploymentSchema)
def cancel_deployment(deployment_id: str) -> Deployment:
    """Take back a deployment whose version does not serve yet."""
    return deployments.cancel(current_session(), principal(), deployment_id)


@blp.post("/deployments/<deployment_id>/promote")
@require("operator")
@transaction("mlops", idempotent=True)
@blp.response(202, schemas.DeploymentSchema)
def promote_deployment(deployment_id: str) -> Any:
    """Send a version on trial on to what comes next, without waiting for samples."""
    return _accepted(deployments.promote(current_session(), principal(), deployment_id))


@blp.get("/judgements")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(schemas.JudgementQuery, location="query")
@blp.response(200, schemas.JudgementPage)
def list_judgements(query: dict[str, Any]) -> dict[str, Any]:
    """Verdicts, newest first."""
    items, cursor = judging.listed(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/judgements/<task_id>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.JudgementSchema)
def get_judgement(task_id: str) -> Judgement:
    """The verdict on a task, photo by photo."""
    return judging.get(current_session(), task_id)


@blp.get("/models/<model>/corrections")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas.CounterSchema)
def corrections(model: str) -> dict[str, Any]:
    """What people decided since the last data set: whether it is time to train."""
    return confirmations.counter(current_session(), model)


@blp.get("/models/<model>/performance")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(schemas.PerformanceQuery, location="query")
@blp.response(200, schemas.PerformanceSchema)
def performance(query: dict[str, int], model: str) -> dict[str, Any]:
    """How each version does in service: coverage, and how often people agreed."""
    return {"items": confirmations.performance(current_session(), model, query["days"])}
