"""HTTP of data sets and trainings."""

from typing import Any

from flask import url_for

from platform_api.core.schemas import PageQuery
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.mlops import datasets, schemas_training, trainings
from platform_api.mlops.models import Dataset, Training

blp = blueprint("mlops-training", "/mlops/v1", "Models: data sets and trainings")
blueprints = [blp]


@blp.get("/models/<model>/datasets")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_training.DatasetPage)
def list_datasets(query: dict[str, Any], model: str) -> dict[str, Any]:
    """The data sets of a model, newest first."""
    items, cursor = datasets.listed(current_session(), model, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/models/<model>/datasets")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas_training.NewDataset)
@blp.response(201, schemas_training.DatasetSchema)
def register_dataset(wanted: dict[str, Any], model: str) -> Dataset:
    """Take a data set from the object store into the catalogue; the counter of corrections goes on after it."""
    return datasets.register(current_session(), principal().id, model, **wanted)


@blp.get("/datasets/<dataset_id>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas_training.DatasetSchema)
def get_dataset(dataset_id: str) -> Dataset:
    """One data set."""
    return datasets.get(current_session(), dataset_id)


@blp.post("/models/<model>/trainings")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.arguments(schemas_training.NewTraining)
@blp.response(202, schemas_training.TrainingSchema)
def start_training(wanted: dict[str, Any], model: str) -> Any:
    """Train on a data set, or on a new one; Location names what to look at meanwhile."""
    training = trainings.start(current_session(), principal(), model, wanted["dataset_id"])
    return training, 202, {"Location": url_for("mlops-training.get_training", training_id=training.training_id)}


@blp.get("/trainings")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(schemas_training.TrainingQuery, location="query")
@blp.response(200, schemas_training.TrainingPage)
def list_trainings(query: dict[str, Any]) -> dict[str, Any]:
    """Trainings, newest first."""
    items, cursor = trainings.listed(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/trainings/<training_id>")
@require("operator", "service")
@transaction("mlops")
@blp.response(200, schemas_training.TrainingSchema)
def get_training(training_id: str) -> Training:
    """How far a training is, and what came of it."""
    return trainings.get(current_session(), training_id)


@blp.get("/trainings/<training_id>/log")
@require("operator", "service")
@transaction("mlops")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_training.LogPage)
def training_log(query: dict[str, Any], training_id: str) -> dict[str, Any]:
    """The log of a training, oldest line first."""
    items, cursor = trainings.log(current_session(), training_id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/trainings/<training_id>/cancel")
@require("operator", "service")
@transaction("mlops", idempotent=True)
@blp.response(202, schemas_training.TrainingSchema)
def cancel_training(training_id: str) -> Training:
    """Stop a training."""
    return trainings.cancel(current_session(), principal(), training_id)
