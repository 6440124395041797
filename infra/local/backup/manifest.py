"""What is in a backup, with the hash of every file, under a code made with the key ring: who changes one is found out."""

import hashlib
import hmac
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platform_api.core.encryption import KeyRing

FORMAT = 1
NAME = "manifest.json"
_PURPOSE = "smartfit backup manifest"


class BackupError(RuntimeError):
    """It cannot be made or restored; the text says why."""


@dataclass(frozen=True)
class Entry:
    """A file of the backup: SHA-256, hex, and size."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What is there.

    Attributes:
        made_at: when the first snapshot was taken, ISO 8601.
        key_id: of the key-encryption key that sealed the dumps.
        port_base, listen: choices of the installation, which its database knows.
        tables: rows by database and `schema.table`, counted in the snapshot that was dumped.
        files: by path in the backup: databases/*.sealed, objects/**, models/**.
    """

    made_at: str
    key_id: str
    port_base: int
    listen: str | None
    tables: dict[str, dict[str, int]]
    files: dict[str, Entry]

    @property
    def rows(self) -> int:
        """Of all tables of all databases."""
        return sum(count for tables in self.tables.values() for count in tables.values())

    @property
    def objects(self) -> int:
        """In the object store."""
        return sum(1 for name in self.files if name.startswith("objects/"))

    def write(self, folder: Path, ring: KeyRing) -> None:
        """Write it into `folder`, with its code."""
        document = {"format": FORMAT, **asdict(self)}
        document["hmac"] = _code(document, ring)
        (folder / NAME).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, ring: KeyRing) -> "Manifest":
        """Read it, and check that it is what was written under this ring.

        Raises:
            BackupError: it is not there, not ours, or not under this ring.
        """
        try:
            document: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
            code, number = str(document.pop("hmac")), document["format"]
            known = document["key_id"] in ring.keys
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupError(f"{folder}: 백업이 아닙니다 (not a backup: no readable {NAME})") from error
        if number != FORMAT:
            raise BackupError(f"{folder}: 알 수 없는 형식 {number} (made by another release)")
        if not known or not hmac.compare_digest(code, _code(document, ring)):
            raise BackupError(
                f"{folder}: 이 키로 만든 백업이 아니거나 바뀌었습니다 (not made under these keys, or changed since)"
            )
        del document["format"]
        files = {name: Entry(**entry) for name, entry in document.pop("files").items()}
        return cls(**document, files=files)

    def check(self, folder: Path) -> None:
        """Compare every file with its hash.

        Raises:
            BackupError: names the first that is missing or not what it was, or one that is not listed.
        """
        there = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {NAME}
        if extra := there - set(self.files):
            raise BackupError(f"{min(extra)}: 목록에 없는 파일입니다 (not in the manifest)")
        for name, entry in self.files.items():
            if name not in there:
                raise BackupError(f"{name}: 없습니다 (missing)")
            if digest(folder / name) != entry:
                raise BackupError(f"{name}: 내용이 다릅니다 (not what was written)")


def _code(document: dict[str, Any], ring: KeyRing) -> str:
    told = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.new(ring.derive(_PURPOSE, kid=document["key_id"]), told.encode(), "sha256").hexdigest()


def digest(file: Path) -> Entry:
    """Hash and size of a file."""
    with file.open("rb") as stream:
        return Entry(hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size)


def copy_folder(source: Path, target: Path) -> int:
    """Copy all files below `source`, but for those half written (*.part). Returns how many.

    A file that goes away meanwhile is left out: the installation may run.
    """
    count = 0
    for file in sorted(source.rglob("*")):
        if not file.is_file() or file.suffix == ".part":
            continue
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            shutil.copyfile(file, place)
            shutil.copymode(file, place)
        except FileNotFoundError:
            continue
        count += 1
    return count
