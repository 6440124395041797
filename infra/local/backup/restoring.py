"""`smartfit restore`: an installation out of a backup and its keys, on a machine that has nothing, whole or not at all."""

from pathlib import Path

from infra.local import credentials
from infra.local.backup import databases
from infra.local.backup.making import KEY_FOLDERS, refuse_unless_new, whole
from infra.local.backup.manifest import BackupError, Manifest, copy_folder, digest
from infra.local.credentials import Credentials
from infra.local.postgres import PostgresServer, bootstrap
from infra.local.state import Choices, State
from platform_api.core.encryption import Envelope, KeyRing
from platform_api.core.settings import SettingsError


def restore(state: State, source: Path, keys: Path) -> Manifest:
    """Restore the backup in `source` into `state`, which is empty. `smartfit up` starts it.

    Every hash is checked before anything is written, every table's rows are counted after.

    Raises:
        BackupError: see there; nothing is left behind.
    """
    refuse_unless_new(state.folder)
    try:
        ring = KeyRing.from_file(Credentials(keys / "secrets").keyring)
    except SettingsError as error:
        raise BackupError(f"{keys}: 키 폴더가 아닙니다 (no keys of an installation there)") from error
    manifest = Manifest.read(source, ring)
    manifest.check(source)
    with whole(state.folder) as folder:
        made = State(folder)
        made.prepare()
        for name in KEY_FOLDERS:
            copy_folder(keys / name, folder / name)
        made.save(Choices(manifest.port_base, manifest.listen))
        held = credentials.ensure(made)
        copy_folder(source / "objects", made.objects)
        copy_folder(source / "models", made.models)
        _databases(made, held, source, ring, manifest)
        for name, entry in manifest.files.items():
            if not name.startswith("databases/") and digest(folder / name) != entry:
                raise BackupError(f"{name}: 복원되지 않았습니다 (was not restored)")
    return manifest


def _databases(made: State, held: Credentials, source: Path, ring: KeyRing, manifest: Manifest) -> None:
    """On a port of its own for the moment: what runs on this machine is left alone."""
    server = PostgresServer(made.postgres_dir, password_file=held.postgres_password)
    try:
        server.start()
        bootstrap(server.admin_url, held.database_passwords())
        for name, expected in manifest.tables.items():
            file = source / "databases" / f"{name}.sealed"
            found = databases.restore(server.admin_url, name, file, Envelope(ring))
            if found != expected:
                wrong = min(table for table in {*found, *expected} if found.get(table) != expected.get(table))
                raise BackupError(
                    f"{name} {wrong}: {found.get(wrong)}행, 백업에는 {expected.get(wrong)}행 (rows differ from the backup)"
                )
    finally:
        server.stop()
        server.data_dir.with_name(f"{server.data_dir.name}.log").unlink(missing_ok=True)
