"""From a model that passed its checks to the version that serves: packed, signed, registered, deployed."""

from typing import Any

import dagster as dg

from data_assets import failures, publishing
from data_assets.laundry import pictures, versions
from data_assets.laundry.model import draft
from data_assets.platform import Platform
from data_assets.settings import DataSettings
from platform_api.core.storage import ObjectStore


@dg.asset(key_prefix="laundry", name="bento", group_name="laundry", kinds={"bentoml"})
def bento(
    context: dg.AssetExecutionContext,
    evaluation: dict[str, Any],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
    settings: dg.ResourceParam[DataSettings],
) -> dg.Output[dict[str, Any]]:
    """The version: in the BentoML store, as a signed archive in the object store, and in the catalogue."""
    with failures.told(context.retry_number):
        version, archive = packed(store, settings, evaluation)
        key = publishing.register_version(store, platform, versions.MODEL, version, archive, context.run.run_id)
        context.log.info(f"version {version} is packed, signed and registered")
        value = {"version": version, "archive": key, "dataset": evaluation["dataset"]}
        return dg.Output(value, metadata={**value, "archive_bytes": len(archive)})


def packed(store: ObjectStore, settings: DataSettings, evaluation: dict[str, Any]) -> tuple[str, bytes]:
    """Pack a model and its figures. Returns the version's name and its signed archive.

    Raises:
        PermanentFailure: the model store cannot be written, or the signing key cannot be read.
    """
    from ml_bentos import archives
    from ml_bentos.laundry import package

    onnx, heads = draft(store, evaluation["draft"])
    dataset = versions.read(store, evaluation["dataset"])
    about = {
        "name": dataset.name,
        "digest": dataset.digest,
        "photos": dataset.summary["photos"],
        "done_states": dict(dataset.done_states),
    }
    report = {
        "tasks": {
            task: {
                **figures,
                **({"strength": evaluation["strengths"][task]} if task in evaluation["strengths"] else {}),
            }
            for task, figures in evaluation["per_task"].items()
        },
        "live": evaluation["live"],
    }
    key = publishing.signing_key(settings)
    with publishing.model_store():
        version = package.pack(onnx, heads, about, evaluation["metrics"], report, top_taught=evaluation["tuned"])
        return version, archives.pack(package.NAME, version, key)


@dg.asset(key_prefix="laundry", name="deployment", group_name="laundry")
def deployment(
    context: dg.AssetExecutionContext,
    bento: dict[str, Any],
    evaluation: dict[str, Any],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """The version's deployment: asked for here, carried out by the platform, which watches it and takes it back."""
    with failures.told(context.retry_number):
        reason = f"run {context.run.run_id[:8]}: {pictures.against(evaluation['live'])}"
        value = publishing.deploy(
            platform, versions.MODEL, bento["version"], reason, context.run.run_id, context.log.info
        )
        return dg.Output(value, metadata=value)
