"""The version that serves, as the catalogue names it: loaded here to be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_assets import publishing
from data_assets.faces import versions
from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from data_assets.faces.photographs import Eye
    from ml_bentos.face.network import Upper


def live_version(platform: Platform) -> str:
    """The version that serves: the shipped one where none was ever deployed."""
    from ml_bentos.face.weights import DEFAULT

    return platform.get(publishing.url(versions.MODEL))["live_version"] or DEFAULT


def live_embedder(store: ObjectStore, version: str) -> bytes:
    """The embedder of a version, fetched, verified and installed where this machine lacks it.

    Raises:
        PermanentFailure: it cannot be loaded: there is nothing to compare with.
    """
    from ml_bentos import archives, registry
    from ml_bentos.face import weights

    try:
        if version not in weights.KNOWN and version not in registry.versions(weights.NAME):
            data = store.get(publishing.archive_key(versions.MODEL, version), sealed=False)
            archives.install(data, archives.trusted_keys(), (weights.NAME, version))
        files = weights.weight_set(version)
        return weights.read(files, files.embedder)
    except (
        registry.RegistryError,
        archives.ArchiveError,
        weights.WeightsError,
        FileNotFoundError,
        ValueError,
    ) as error:
        raise PermanentFailure(
            f"서비스 중인 얼굴 모델 {version}을(를) 불러올 수 없어 비교하지 못합니다. 모델 저장소를 복구하세요.",
            f"The live version {version} cannot be loaded to be compared with; restore the model store: {error}",
        ) from error


def upper_of(eye: Eye, embedder: bytes, version: str) -> Upper:
    """The upper part of an embedder whose lower part is the published one.

    Raises:
        PermanentFailure: its lower part is another.
    """
    import torch

    from ml_bentos.face.network import from_onnx, halves

    lower, upper = halves(from_onnx(embedder))
    ours, theirs = eye.lower.state_dict(), lower.state_dict()
    if not all(torch.equal(ours[name], theirs[name]) for name in ours):
        raise PermanentFailure(
            f"얼굴 모델 {version}의 아래쪽 층이 배포된 기본 모델과 달라 비교할 수 없습니다.",
            f"The lower layers of {version} are not those of the published network; it cannot be compared with.",
        )
    return upper
