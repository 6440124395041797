"""The version that serves, as the catalogue names it: loaded here to be compared with."""

from typing import TYPE_CHECKING

from data_assets import publishing
from data_assets.failures import PermanentFailure
from data_assets.laundry import versions
from data_assets.platform import Platform
from ml_bentos import archives, registry
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from ml_bentos.laundry.model import LaundryModel


def live_model(store: ObjectStore, platform: Platform) -> "LaundryModel | None":
    """The live version, fetched, verified and installed where this machine lacks it; None where nothing serves.

    Raises:
        PermanentFailure: it cannot be loaded: there is nothing to compare with.
    """
    from ml_bentos.laundry import package
    from ml_bentos.laundry.backbone import BackboneError

    version = platform.get(publishing.url(versions.MODEL))["live_version"]
    if version is None:
        return None
    try:
        if version not in package.versions():
            archives.install(
                store.get(publishing.archive_key(versions.MODEL, version), sealed=False), archives.trusted_keys()
            )
        return package.load(version)
    except (
        registry.RegistryError,
        archives.ArchiveError,
        package.PackageError,
        BackboneError,
        FileNotFoundError,
        ValueError,
    ) as error:
        raise PermanentFailure(
            f"서비스 중인 버전 {version}을(를) 불러올 수 없어 비교하지 못합니다. 모델 저장소를 복구하세요.",
            f"The live version {version} cannot be loaded to be compared with; restore the model store: {error}",
        ) from error


def size_of(version: str) -> int:
    """Bytes of network and heads of a stored version."""
    from ml_bentos.laundry import package

    folder, _ = registry.get(package.NAME, version)
    return sum((folder / name).stat().st_size for name in package.SERVED)
