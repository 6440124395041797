"""The object store: any fsspec file system; objects that show a face are sealed before they leave the process.

The context of the encryption is the object's key, so that one sealed object cannot be put in another's place.
"""

import posixpath
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.settings import Settings, SettingsError
from platform_api.core.telemetry import machine


@dataclass(frozen=True)
class ObjectStore:
    """Objects by key under one root."""

    filesystem: Any
    root: str
    envelope: Envelope | None

    @classmethod
    def from_settings(cls, settings: Settings) -> "ObjectStore":
        """The store of `SMARTFIT_STORAGE_URL`, with the key ring of `SMARTFIT_KEYRING_FILE`.

        Raises:
            SettingsError: a setting is missing or wrong.
        """
        if not settings.storage_url:
            raise SettingsError("SMARTFIT_STORAGE_URL: 설정이 없습니다 (not set; e.g. file:///var/lib/smartfit)")
        try:
            filesystem, root = fsspec.core.url_to_fs(settings.storage_url)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"SMARTFIT_STORAGE_URL: {error}") from error
        if "file" in _protocols(filesystem):
            machine.watch_volume("objects", Path(root))
        envelope = Envelope(RingFile(settings.keyring_file)) if settings.keyring_file else None
        return cls(filesystem, root.rstrip("/"), envelope)

    def put(self, key: str, data: bytes, sealed: bool) -> None:
        """Write an object, whole or not at all.

        Args:
            sealed: encrypt it (must be True for whatever shows a face).
        """
        path = self._path(key)
        blob = self._envelope().seal(data, key.encode()) if sealed else data
        self._write(path, blob)

    def _write(self, path: str, blob: bytes) -> None:
        self.filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
        if "file" in _protocols(self.filesystem):
            # Local files: beside it and renamed, so that a crash leaves no half object. Object stores do so themselves.
            # Each writer has a name of its own: two who write the same object at once must not rename each other's half.
            temporary = f"{path}.{secrets.token_hex(4)}.part"
            try:
                self.filesystem.pipe_file(temporary, blob)
                self.filesystem.mv(temporary, path)
            except BaseException:
                if self.filesystem.exists(temporary):
                    self.filesystem.rm_file(temporary)
                raise
        else:
            self.filesystem.pipe_file(path, blob)

    def get(self, key: str, sealed: bool) -> bytes:
        """Read an object.

        Raises:
            FileNotFoundError: there is none.
            DecryptionError: it is damaged or not what was put there.
        """
        blob: bytes = self.filesystem.cat_file(self._path(key))
        return self._envelope().open(blob, key.encode()) if sealed else blob

    def rewrap(self, key: str) -> None:
        """Put a sealed object under the key that seals now. Who deletes it meanwhile must look again (core.resealing).

        Raises:
            FileNotFoundError: there is none.
            DecryptionError: it is damaged, or its key is not in the ring.
        """
        blob: bytes = self.filesystem.cat_file(self._path(key))
        self._write(self._path(key), self._envelope().rewrap(blob, key.encode()))

    def read(self, key: str, start: int, end: int) -> bytes:
        """The bytes [start, end) of an object that is not sealed.

        Raises:
            FileNotFoundError: there is none.
        """
        part: bytes = self.filesystem.cat_file(self._path(key), start=start, end=end)
        return part

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        try:
            self.filesystem.rm_file(self._path(key))
        except FileNotFoundError:
            return

    def delete_prefix(self, prefix: str) -> int:
        """Remove all objects whose key begins with folder `prefix`. Returns how many there were."""
        keys = self.list(prefix)
        path = self._path(prefix)
        if self.filesystem.exists(path):
            self.filesystem.rm(path, recursive=True)
        return len(keys)

    def list(self, prefix: str = "") -> list[str]:
        """The keys below folder `prefix` (all where left out), sorted."""
        path = self._path(prefix) if prefix else self.root
        if not self.filesystem.exists(path):
            return []
        return sorted(str(found)[len(self.root) + 1 :] for found in self.filesystem.find(path))

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""
        return bool(self.filesystem.exists(self._path(key)))

    def is_there(self) -> bool:
        """Whether the store itself is there; a volume that is not mounted is none, or one with nothing in it.

        For who misses an object that must be there: has it gone, or is the store away for the moment?
        """
        self.filesystem.invalidate_cache()
        try:
            return bool(self.filesystem.ls(self.root, detail=False))
        except OSError:
            return False

    def _path(self, key: str) -> str:
        clean = posixpath.normpath(key)
        if clean.startswith(("/", "..")) or clean in {"", "."}:
            raise ValueError(f"not an object key: {key!r}")
        return f"{self.root}/{clean}"

    def _envelope(self) -> Envelope:
        if self.envelope is None:
            raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; sealed objects need a key ring)")
        return self.envelope


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
