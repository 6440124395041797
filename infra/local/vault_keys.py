"""Key sets in Vault, worked on as a folder: what `smartfit keys ... --vault PATH` does."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from platform_api.core.vault import NotThere, Vault
from platform_api.secrets import write


@contextlib.contextmanager
def vault_folder(path: str) -> Iterator[Path]:
    """The secret's fields as files of a folder in memory; written back where they were changed. A new one where there is none.

    Raises:
        VaultError: it cannot be read or written, or somebody else changed it meanwhile; then nothing is written.
    """
    vault = Vault()
    try:
        before, version = vault.read(path)
    except NotThere:
        before, version = {}, 0
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - keys should not touch a disk
    with tempfile.TemporaryDirectory(prefix="smartfit-keys-", dir=memory) as name:
        folder = Path(name)
        if before:
            write(folder, before)
        for file in folder.glob("*.pem"):
            _date(file)
        yield folder
        after = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        if after != before:
            vault.write(path, after, version)


def _date(file: Path) -> None:
    """A signing key's id begins with the time it was made; by that it is told how long it has been published."""
    with contextlib.suppress(ValueError):
        made = datetime.strptime(file.stem, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC).timestamp()
        os.utime(file, (made, made))
