"""Packages of face models, fetched from the centre, checked, and put where models lie.

A download that was cut goes on where it ended. Nothing is used before its length, its SHA-256 and its signature are found
to be right, and then it comes into place in one step. What is refused is not fetched again for a while: the same bytes
would be refused again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import structlog

from access_edge import metrics, small_files
from access_edge.centre import Centre, CentreRefuses
from access_edge.records import Archive, Model
from access_edge.settings import EdgeSettings
from ml_bentos import archives
from ml_bentos.face.weights import NAME

log = structlog.get_logger(__name__)

# Of what a package takes: itself, its files beside it, and as much again that stays free.
ROOM = 3
REFUSED_S = 600.0
_PART = ".part"


class ModelTrouble(Exception):
    """A version cannot go live here. `code` is told to the centre."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Downloads:
    """See the module. Called by one thread."""

    def __init__(self, settings: EdgeSettings, centre: Centre) -> None:
        self._models = settings.models_dir
        self._installed = settings.edge_state_dir / "installed-models.json"
        self._keys = settings.model_public_keys_file
        self._most = int(settings.edge_model_max_mib * 2**20)
        self._centre = centre
        self._refused: dict[str, tuple[float, str]] = {}
        self._clear_abandoned()

    def fetch(self, model: Model) -> None:
        """Have the package of a version installed.

        Raises:
            ModelTrouble: it may not be used, or there is no room. ServiceUnavailable: cut off; goes on at the next call.
        """
        archive = model.archive
        if archive is None:
            raise ModelTrouble("no_package")
        until, code = self._refused.get(archive.sha256, (0.0, ""))
        if time.monotonic() < until:
            raise ModelTrouble(code)
        try:
            self._fetch(model.version, archive)
        except ModelTrouble as trouble:
            self._refused[archive.sha256] = (time.monotonic() + REFUSED_S, trouble.code)
            metrics.DOWNLOADS.labels(trouble.code).inc()
            log.error("model_refused", model=model.version, trouble=trouble.code)
            raise
        self._note({*self._ours(), model.version})
        metrics.DOWNLOADS.labels("installed").inc()
        log.info("model_installed", model=model.version, bytes=archive.bytes)

    def remove(self, version: str) -> None:
        """Delete the package of a version that nobody speaks of any more, where this node has put it there."""
        if self._models is None or version not in self._ours():
            return
        shutil.rmtree(self._models / "packages" / NAME / version, ignore_errors=True)
        self._note(self._ours() - {version})

    def _ours(self) -> set[str]:
        try:
            return set(json.loads(self._installed.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return set()

    def _note(self, versions: set[str]) -> None:
        try:
            small_files.replace(self._installed, sorted(versions))
        except OSError as error:
            log.error("installed_models_not_noted", error=error.strerror)

    def _clear_abandoned(self) -> None:
        """What a process that was killed had begun to unpack; the folder of models is this node's own."""
        if self._models is not None:
            for begun in (self._models / "packages" / NAME).glob(".*"):
                shutil.rmtree(begun, ignore_errors=True)

    def _fetch(self, version: str, archive: Archive) -> None:
        if self._models is None or self._keys is None:
            raise ModelTrouble("packages_not_configured")
        if archive.bytes > self._most:
            raise ModelTrouble("package_too_large")
        folder = self._models / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{archive.sha256}{_PART}"
        for other in folder.glob(f"*{_PART}"):
            if other != part:
                other.unlink(missing_ok=True)
        if shutil.disk_usage(folder).free < ROOM * archive.bytes:
            raise ModelTrouble("disk_full")
        try:
            self._bring(version, archive, part)
            self._install(version, archive, part, self._keys)
        except OSError as error:
            log.error("model_not_written", model=version, error=error.strerror)
            raise ModelTrouble("disk_full") from error

    def _bring(self, version: str, archive: Archive, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        if have > archive.bytes:
            part.unlink()
            have = 0
        if have == archive.bytes:
            return
        try:
            start, chunks = self._centre.archive(version, have, archive.sha256)
        except CentreRefuses as refusal:
            if refusal.status == 416:
                part.unlink(missing_ok=True)
            raise ModelTrouble("no_package" if refusal.status == 404 else "package_refused") from refusal
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in chunks:
                if file.tell() + len(chunk) > archive.bytes:
                    file.close()
                    part.unlink()
                    raise ModelTrouble("package_corrupt")
                file.write(chunk)

    def _install(self, version: str, archive: Archive, part: Path, keys: Path) -> None:
        try:
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if part.stat().st_size != archive.bytes or digest != archive.sha256:
                raise ModelTrouble("package_corrupt")
            try:
                archives.install(part, archives.load_public_keys(keys), (NAME, version))
            except archives.ArchiveError as error:
                log.error("package_refused", model=version, code=error.code, reason=str(error)[:200])
                raise ModelTrouble(f"package_{error.code}") from error
            except ValueError as error:
                raise ModelTrouble("packages_not_configured") from error
        finally:
            part.unlink(missing_ok=True)
