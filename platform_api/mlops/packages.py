"""The signed archive of a version: fetched from the object store, checked, and put where this process loads models from.

Whoever makes a version lays its archive at `models/<kind>/<version>.tar`. What the catalogue noted of it (SHA-256, length)
at registering must still hold when it is deployed, and the signature must be of a key that is trusted here.
"""

import hashlib

import structlog

from ml_bentos import archives, registry
from platform_api.core.http import ServiceUnavailable
from platform_api.core.storage import ObjectStore
from platform_api.mlops.models import Version
from platform_api.mlops.settings import settings

log = structlog.get_logger(__name__)

NAMES = {"laundry": "smartfit-laundry", "face": "smartfit-face"}


class PackageUnavailable(Exception):
    """The archive is not there, not what it was, or must not be trusted. code: of ArchiveError, or missing, no_keys, not_stored."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def key_of(model: str, version: str) -> str:
    """Where the archive of a version lies."""
    return f"models/{model}/{version}.tar"


def is_here(model: str, version: str) -> bool:
    """Whether this machine's stores hold the package."""
    try:
        registry.get(NAMES[model], version)
    except registry.RegistryError:
        return False
    return True


def note(store: ObjectStore, version: Version) -> None:
    """Note in a version's row which archive it has, where it has one. Raises ServiceUnavailable: the object store is away."""
    data = _read(store, key_of(version.model, version.version))
    if data is not None:
        version.archive_key = key_of(version.model, version.version)
        version.archive_sha256, version.archive_bytes = hashlib.sha256(data).hexdigest(), len(data)


def bring(store: ObjectStore, model: str, version: str, sha256: str | None = None, known: bool = True) -> bool:
    """Install the archive of a version, once it has been found good. Returns False where there is no archive.

    Args:
        sha256: what the archive must be; None where nothing is known of it yet.
        known: the version is one that was made, so that a store without anything in it is one that is away.

    Raises:
        PackageUnavailable: it must not be used, and why; nothing has changed.
        ServiceUnavailable: the object store is away.
    """
    data = _read(store, key_of(model, version))
    if data is None:
        if known and not store.is_there():
            raise ServiceUnavailable("storage", "there is nothing in it: not mounted?")
        if sha256 is not None:
            raise PackageUnavailable("missing", f"the archive {key_of(model, version)} is gone from the object store")
        return False
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise PackageUnavailable("damaged", "the archive is not the one that was registered")
    path = settings().model_public_keys_file
    if path is None:
        raise PackageUnavailable("no_keys", "no key is trusted here: set SMARTFIT_MODEL_PUBLIC_KEYS_FILE")
    try:
        trusted = archives.load_public_keys(path)
    except (ValueError, OSError) as error:
        raise PackageUnavailable("no_keys", str(error)) from error
    try:
        name, found = archives.install(data, trusted, expected=(NAMES[model], version))
    except archives.ArchiveError as error:
        raise PackageUnavailable(error.code, str(error)) from error
    except (registry.RegistryError, OSError) as error:
        raise PackageUnavailable("not_stored", f"the package cannot be stored here: {error}") from error
    log.info("package_installed", package=name, version=found)
    return True


def ensure(store: ObjectStore, model: str, version: str, known: bool = True) -> None:
    """Have the package of a version on this machine, fetched if need be. Raises as `bring`; a shipped one needs nothing."""
    if not is_here(model, version):
        bring(store, model, version, known=known)


def _read(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key, sealed=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServiceUnavailable("storage", type(error).__name__) from error
