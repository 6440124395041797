"""What every line does with mlops and the stores: data sets registered, versions stored, signed, registered and deployed.

models/<model>/<version>.tar    the signed archive of a version, in the object store
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data_assets.failures import PermanentFailure
from data_assets.platform import Platform, Refused
from data_assets.settings import DataSettings
from platform_api.core.storage import ObjectStore


def url(model: str) -> str:
    """Where mlops tells and hears of a model."""
    return f"/mlops/v1/models/{model}"


def archive_key(model: str, version: str) -> str:
    """Where the signed archive of a version lies in the object store."""
    return f"models/{model}/{version}.tar"


def register_dataset(
    platform: Platform, model: str, name: str, through: int | None = None, run_id: str | None = None
) -> None:
    """Tell the catalogue of a version of a data set; nothing happens where it knows it.

    through: number of the last decision that is in it. Raises PermanentFailure, TransientFailure: see `Platform`.
    """
    body = {"name": name, "confirmations_through": through, "run_id": run_id}
    try:
        platform.post(f"{url(model)}/datasets", body)
    except Refused as refused:
        if refused.code != "dataset_exists":
            raise


def newest_dataset(platform: Platform, model: str) -> str | None:
    """Name of the newest data set that the catalogue knows; None where it knows none."""
    known = platform.get(f"{url(model)}/datasets", limit=1)["items"]
    return str(known[0]["name"]) if known else None


@contextmanager
def model_store() -> Iterator[None]:
    """Raises PermanentFailure where what is done in it finds that the model store cannot be written."""
    from ml_bentos import registry

    try:
        yield
    except registry.RegistryError as error:
        raise PermanentFailure(
            "모델 저장소(BentoML)에 쓸 수 없습니다. 폴더를 복구한 뒤 다시 실행하세요.",
            f"The model store cannot be written; restore its folder and run it again: {error}",
        ) from error


def register_version(
    store: ObjectStore, platform: Platform, model: str, version: str, archive: bytes, run_id: str
) -> str:
    """Lay the archive of a version in the object store and tell the catalogue of it. Returns the archive's key."""
    key = archive_key(model, version)
    store.put(key, archive, sealed=False)
    platform.post(f"{url(model)}/versions", {"version": version, "run_id": run_id})
    return key


def signing_key(settings: DataSettings) -> Ed25519PrivateKey:
    """The key that signs model packages. Raises PermanentFailure, naming the setting."""
    from ml_bentos import archives

    try:
        return archives.load_signing_key(settings.model_signing_key_file)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        raise PermanentFailure(
            "모델 서명 키를 읽을 수 없습니다. SMARTFIT_MODEL_SIGNING_KEY_FILE을 확인하세요.",
            f"The key that signs models cannot be read; see SMARTFIT_MODEL_SIGNING_KEY_FILE: {error}",
        ) from error


def deploy(
    platform: Platform, model: str, version: str, reason: str, run_id: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Ask for a version's deployment. Returns version, deployment_id and state.

    Args:
        run_id: of the run that asks; it asks once, however often this is called.

    Raises:
        Refused: the platform does not deploy it.
    """
    try:
        asked = platform.post(f"{url(model)}/deployments", {"version": version, "reason": reason[:500]}, key=run_id)
    except Refused as refused:
        if refused.code != "already_live":
            raise
        # The same data taught again gives the same version: there is nothing to do.
        tell(f"{version} serves already")
        return {"version": version, "deployment_id": None, "state": "live"}
    tell(f"deployment {asked['deployment_id']} of {version} is asked for")
    return {"version": version, "deployment_id": asked["deployment_id"], "state": asked["state"]}
