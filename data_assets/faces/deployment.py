"""From a model that passed its checks to the version that serves: packed, signed, registered, deployed."""

import time
from typing import Any

import dagster as dg

from data_assets import failures, publishing
from data_assets.faces import gallery, pictures, versions
from data_assets.faces.model import draft
from data_assets.faces.thresholds import document_of
from data_assets.platform import Platform
from data_assets.reading import Reader
from data_assets.settings import DataSettings
from data_assets.telling import Tell
from platform_api.core.storage import ObjectStore

STAGED_WITHIN_S = 300.0
"""A deployment is staged within seconds; where it takes longer, the platform is busy or away, and its trial has not begun."""
HEARD_WITHIN_S = 3.0
"""From mlops' word that a version is staged to auth's having heard it."""


@dg.asset(key_prefix="faces", name="bento", group_name="faces", kinds={"bentoml"})
def bento(
    context: dg.AssetExecutionContext,
    gallery: dict[str, Any],
    thresholds: dict[str, Any],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
    settings: dg.ResourceParam[DataSettings],
) -> dg.Output[dict[str, Any]]:
    """The version: in the BentoML store, as a signed archive in the object store, and in the catalogue."""
    with failures.told(context.retry_number):
        version = thresholds["version"]
        archive = packed(store, settings, thresholds)
        key = publishing.register_version(store, platform, versions.MODEL, version, archive, context.run.run_id)
        context.log.info(f"version {version} is packed, signed and registered; {gallery['embedded']} templates are new")
        value = {"version": version, "archive": key, "dataset": thresholds["dataset"]}
        return dg.Output(value, metadata={**value, "archive_bytes": len(archive)})


def packed(store: ObjectStore, settings: DataSettings, thresholds: dict[str, Any]) -> bytes:
    """Pack the version. Returns its signed archive.

    Raises:
        PermanentFailure: the model store cannot be written, or the signing key cannot be read.
    """
    from ml_bentos import archives
    from ml_bentos.face import package

    document = document_of(store, thresholds["document"])
    key = publishing.signing_key(settings)
    with publishing.model_store():
        package.pack_taught(thresholds["version"], draft(store, thresholds["draft"]), document)
        return archives.pack(package.NAME, thresholds["version"], key)


@dg.asset(key_prefix="faces", name="deployment", group_name="faces")
def deployment(
    context: dg.AssetExecutionContext,
    bento: dict[str, Any],
    evaluation: dict[str, Any],
    thresholds: dict[str, Any],
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """The version's deployment: asked for here, carried out by the platform, which watches it and takes it back."""
    with failures.told(context.retry_number):
        tell = context.log.info
        reason = f"run {context.run.run_id[:8]}: {pictures.against(evaluation)}"
        value = publishing.deploy(platform, versions.MODEL, bento["version"], reason, context.run.run_id, tell)
        if value["deployment_id"] is not None:
            _until_staged(platform, value["deployment_id"], tell)
            filled = gallery.fill(store, reader, platform, gallery.model_of(store, thresholds), tell)
            value["embedded_late"] = filled.embedded
        return dg.Output(value, metadata=value)


def _until_staged(platform: Platform, deployment_id: str, tell: Tell) -> None:
    """Wait until auth enrols everybody under the version too: who came since the gallery was filled is embedded then."""
    deadline = time.monotonic() + STAGED_WITHIN_S
    while time.monotonic() < deadline:
        state = platform.get(f"/mlops/v1/deployments/{deployment_id}")["state"]
        if state not in ("requested", "preparing"):
            tell(f"deployment {deployment_id}: {state}")
            time.sleep(HEARD_WITHIN_S)
            return
        time.sleep(1.0)
