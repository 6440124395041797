"""The reference set: photos of people whom no model is ever taught with, by which every version is measured.

    python -m data_assets.faces.reference DIR [--groups FILE]

DIR holds NAME/*.jpg, a folder for each person; FILE is a CSV (person, group), where groups are known. By it a new version must
not have got worse than the one that serves (what is taught must not make it forget), and its thresholds are taken, together with
the members of the test split. The larger, the better its thresholds are known.

    datasets/face-reference/photos/<sha256>     the photos, sealed, named by their content
    datasets/face-reference/<name>/...          a version, see `datasets`
    datasets/face-reference/current.json        which one is in use
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pyarrow as pa

from data_assets import datasets
from data_assets.failures import PermanentFailure
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.face.protocol import photos_of
from platform_api.core.encryption import DecryptionError
from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.storage import ObjectStore

MODEL = "face-reference"
CURRENT = f"datasets/{MODEL}/current.json"
LEAST_PEOPLE = 50
"""With photos enough to be enrolled and tried; fewer say nothing of one refusal in a hundred."""
MOST_UNREADABLE = 0.05
"""Of a folder; more of them, and it is not the folder that was meant."""


@dataclass(frozen=True)
class Row:
    """A photo of a person. group: "" where it is not known."""

    person: str
    sha256: str
    group: str


SCHEMA = pa.schema([pa.field(field.name, pa.string(), False) for field in fields(Row)])


class UnfitReference(ValueError):
    """A folder that cannot be a reference set; the text says why."""


@dataclass(frozen=True)
class Reference:
    """The set in use."""

    name: str
    rows: tuple[Row, ...]

    @property
    def groups(self) -> dict[str, str]:
        """Group by person, of those whose group is known."""
        return {row.person: row.group for row in self.rows if row.group}


def put(store: ObjectStore, folder: Path, groups: Mapping[str, str]) -> Reference:
    """Import a folder and put it to use; the same folder again changes nothing.

    Raises:
        UnfitReference: it holds too few people, or too many files that are no photos.
    """
    rows, unreadable = [], 0
    for name, paths in photos_of(folder).items():
        person = _person(name)
        for path in paths:
            data = path.read_bytes()
            try:
                decode_image(data)
            except ImageProblem:
                unreadable += 1
                continue
            rows.append(Row(person, _keep(store, data), groups.get(name, "")))
    if unreadable > MOST_UNREADABLE * (len(rows) + unreadable):
        raise UnfitReference(f"{unreadable} of {len(rows) + unreadable} files do not open as photos")
    several = sum(count > 1 for count in Counter(row.person for row in rows).values())
    if several < LEAST_PEOPLE:
        raise UnfitReference(f"{several} people have two photos or more, at least {LEAST_PEOPLE} are needed")
    rows.sort(key=lambda row: (row.person, row.sha256))
    name = hashlib.sha256(repr(rows).encode()).hexdigest()[:12]
    if not datasets.is_there(store, MODEL, name):
        summary = {"photos": len(rows), "groups": len({row.person for row in rows})}
        datasets.write(store, MODEL, name, rows, SCHEMA, summary)
    store.put(CURRENT, json.dumps({"name": name}).encode(), sealed=True)
    return Reference(name, tuple(rows))


def current(store: ObjectStore) -> Reference:
    """The set in use. Raises PermanentFailure where none was imported, or it is damaged."""
    try:
        name = str(json.loads(store.get(CURRENT, sealed=True))["name"])
    except FileNotFoundError as error:
        raise PermanentFailure(
            "얼굴 참조 집합이 없습니다. 가르치지 않을 사람들의 사진을 smartfit models reference DIR로 가져오세요.",
            "There is no reference set; import photos of people who are never taught with: smartfit models reference DIR.",
        ) from error
    except (DecryptionError, ValueError, KeyError, TypeError) as error:
        raise PermanentFailure(
            "얼굴 참조 집합이 손상되었습니다. 다시 가져오세요.", "The reference set is damaged; import it again."
        ) from error
    _, rows = datasets.read(store, MODEL, name, SCHEMA)
    return Reference(name, tuple(Row(**row) for row in rows))


def photo(store: ObjectStore, row: Row) -> bytes:
    """A photo. Raises PermanentFailure where it is gone or damaged."""
    try:
        data = store.get(_photo_key(row.sha256), sealed=True)
    except (FileNotFoundError, DecryptionError):
        data = b""
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise PermanentFailure(
            f"참조 사진 {row.sha256[:12]}이(가) 없거나 손상되었습니다. 참조 집합을 다시 가져오세요.",
            f"The reference photo {row.sha256[:12]} is gone or damaged; import the set again.",
        )
    return data


def read_groups(file: Path | None) -> dict[str, str]:
    """Group by person, of a CSV with columns person and group. Raises UnfitReference."""
    if file is None:
        return {}
    with file.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened)
        if not {"person", "group"} <= set(reader.fieldnames or ()):
            raise UnfitReference(f"{file.name} needs the columns person and group")
        return {row["person"]: row["group"].strip() for row in reader if row["person"] and row["group"]}


def _keep(store: ObjectStore, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    if not store.exists(_photo_key(sha256)):
        store.put(_photo_key(sha256), data, sealed=True)
    return sha256


def _photo_key(sha256: str) -> str:
    return f"datasets/{MODEL}/photos/{sha256}"


def _person(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=12, person=b"faces-ref").hexdigest()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--groups", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="CSV: person, group")
def main(folder: Path, groups: Path | None) -> None:
    """Import a folder NAME/*.jpg as the reference set of the face model."""
    try:
        made = put(ObjectStore.from_settings(load(Settings)), folder, read_groups(groups))
    except (UnfitReference, SettingsError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(f"reference {made.name}: {len({row.person for row in made.rows})} people, {len(made.rows)} photos")


if __name__ == "__main__":
    main()
