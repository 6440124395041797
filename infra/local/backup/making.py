"""`smartfit backup`: every database, the object store and the models into one folder, whole or not at all.

The installation may run. Each database is dumped in one snapshot; the objects are copied after, so that what a row of a
snapshot names was there before (what is deleted meanwhile is missing, as it is in the installation). Dumps are sealed under
the key ring, as faces in the object store are from the start: without the keys a backup cannot be read by anyone. They are
therefore written to a place of their own, or not at all. Left out is what is made anew: the search index, Dagster's working
files, rendered configurations, logs, and the gate node's replica.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from infra.local.backup import databases
from infra.local.backup.manifest import BackupError, Manifest, copy_folder, digest
from infra.local.credentials import Credentials
from infra.local.postgres import PostgresServer
from infra.local.services import postgres_server
from infra.local.state import State
from platform_api.core.encryption import Envelope, KeyRing

KEY_FOLDERS = ("secrets", "tls")


def backup(state: State, target: Path, keys: Path | None = None) -> Manifest:
    """Back up the installation of `state`.

    Args:
        target: a folder that is not there yet.
        keys: a folder outside of `target`, not there yet, for passwords, keys and certificates.

    Raises:
        BackupError: see there; nothing is left behind.
    """
    held = Credentials(state.secrets)
    server = postgres_server(state, held)
    if not held.keyring.exists() or not server.initialised:
        raise BackupError(f"{state.folder}: 백업할 것이 없습니다 (nothing to back up; no installation here)")
    target, keys = target.absolute(), keys.absolute() if keys else None
    if keys and (keys == target or target in keys.parents or keys in target.parents):
        raise BackupError("키는 백업과 다른 곳에 두어야 합니다 (keys belong in another place than the backup)")
    for place in filter(None, (target, keys)):
        refuse_unless_new(place)
    ring = KeyRing.from_file(held.keyring)
    with whole(target) as made:
        manifest = _fill(state, server, made, ring)
        if keys:
            with whole(keys) as copied:
                for name in KEY_FOLDERS:
                    copy_folder(state.folder / name, copied / name)
    return manifest


def _fill(state: State, server: PostgresServer, made: Path, ring: KeyRing) -> Manifest:
    at, tables = datetime.now(UTC).isoformat(timespec="seconds"), {}
    (made / "databases").mkdir(mode=0o700)
    with answering(server):
        for name in databases.DATABASES:
            file = made / "databases" / f"{name}.sealed"
            tables[name] = databases.dump(server.admin_url, name, file, Envelope(ring))
    copy_folder(state.objects, made / "objects")
    copy_folder(state.models, made / "models")
    files = {str(file.relative_to(made)): digest(file) for file in sorted(made.rglob("*")) if file.is_file()}
    choices = state.choices
    manifest = Manifest(at, ring.current, choices.port_base, choices.listen, tables, files)
    manifest.write(made, ring)
    return manifest


def refuse_unless_new(folder: Path) -> None:
    """BackupError where something is there that would be mixed up or overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder}: 이미 무언가 있습니다. 빈 폴더를 고르세요 (not empty; choose another place)")


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, which takes its place when the work is done and is deleted when it fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        if folder.exists():
            folder.rmdir()  # only an empty folder may be in the way
        os.sync()
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def answering(server: PostgresServer) -> Iterator[None]:
    """The server, started for the moment where it does not run."""
    if server.problem() is None:
        yield
        return
    server.start()
    try:
        yield
    finally:
        server.stop()
