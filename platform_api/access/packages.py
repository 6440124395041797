"""Packages of face models on this machine: the full gallery scores as the edges do only if it knows the model's population.

A package is brought from the object store the first time that a gallery of its version is searched here.
"""

from __future__ import annotations

import hashlib
import time

import structlog

from ml_bentos import archives, registry
from ml_bentos.face.population import load_metadata
from ml_bentos.face.weights import NAME
from platform_api.access.models import Model
from platform_api.access.settings import settings
from platform_api.access.strangers import store

log = structlog.get_logger(__name__)

AGAIN_S = 60.0
_not_before: dict[str, float] = {}


def bring(model: Model) -> bool:
    """Have the version's package here. Returns whether what was measured of it is known; tried again after a minute."""
    try:
        load_metadata(model.version)
        return True
    except (OSError, ValueError):
        pass
    if model.archive_key is None or time.monotonic() < _not_before.get(model.version, 0.0):
        return False
    _not_before[model.version] = time.monotonic() + AGAIN_S
    keys = settings().model_public_keys_file
    if keys is None or registry.models_dir() is None:
        log.warning("package_not_brought", model=model.version, reason="no folder of models, or no trusted keys")
        return False
    try:
        data = store().get(model.archive_key, sealed=False)
        if hashlib.sha256(data).hexdigest() != model.archive_sha256:
            raise archives.ArchiveError("damaged", "not the archive that was announced")
        archives.install(data, archives.load_public_keys(keys), (NAME, model.version))
        load_metadata(model.version)
    except (archives.ArchiveError, registry.RegistryError, OSError, ValueError) as error:
        log.error("package_refused", model=model.version, reason=str(error)[:200])
        return False
    log.info("package_installed", model=model.version)
    return True
