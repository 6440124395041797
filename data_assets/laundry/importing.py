"""Brings a folder of labelled photos into the object store as a version of the data set:

    python -m data_assets.laundry.importing DIR --name NAME [--done TASK=STATE]

DIR holds labels.csv (columns image, helper, task, state) and the photos it names. Prints `dataset NAME`. The catalogue hears
of it by POST /mlops/v1/models/laundry/datasets, or from `dataset.existing` of the line.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from data_assets import datasets
from data_assets.failures import PermanentFailure
from data_assets.laundry import sifting, versions
from data_assets.laundry.copies import hashes
from data_assets.laundry.versions import Row, Version
from ml_bentos.cores import side_by_side
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry import dataset
from ml_bentos.laundry.dataset import Labelled
from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.storage import ObjectStore

MOST_UNREADABLE = 0.05
"""Of a folder; more of them, and it is not the folder that was meant."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def put(store: ObjectStore, name: str, folder: Path, done: Mapping[str, str] | None = None) -> Version:
    """Import a folder.

    Args:
        done: which state of a task means done, beside those that are known.

    Raises:
        DatasetError, PermanentFailure: nothing can be learnt from it; datasets.Taken: the name is.
    """
    data = dataset.read(folder, done)
    with side_by_side() as pool:
        found = list(pool.map(lambda photo: _row(store, folder, photo), data.photos))
    rows = [row for row in found if row is not None]
    unreadable = len(found) - len(rows)
    if unreadable > MOST_UNREADABLE * len(found):
        first = next(photo.image for photo, row in zip(data.photos, found, strict=True) if row is None)
        raise dataset.DatasetError(f"{unreadable} photos do not open, such as {first}")
    sifted = sifting.sift(rows)
    sifting.must_teach(sifted.rows, data.done)
    notes = {**sifted.left_out, "unreadable": unreadable}
    return versions.write(store, name, sifted.rows, data.done, notes)


def _row(store: ObjectStore, folder: Path, photo: Labelled) -> Row | None:
    data = (folder / photo.image).read_bytes()
    try:
        bgr = decode_image(data)
    except ImageProblem:
        return None
    sha256 = versions.put_photo(store, data)
    split = sifting.split_of(photo.helper)
    return Row(sha256, photo.helper, None, photo.task, photo.state, "import", None, split, *hashes(bgr))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", required=True, help="Name of the version: lower-case letters, digits, - and _.")
@click.option("--done", multiple=True, metavar="TASK=STATE", help="Which state of a task means done.")
def main(folder: Path, name: str, done: tuple[str, ...]) -> None:
    """Import a folder of labelled photos as a version of the laundry data set."""
    try:
        if not NAME.fullmatch(name):
            raise SettingsError(f"--name {name}: lower-case letters, digits, - and _")
        names = dict(pair.split("=", 1) for pair in done if "=" in pair)
        version = put(ObjectStore.from_settings(load(Settings)), name, folder, names)
    except (dataset.DatasetError, PermanentFailure, SettingsError, datasets.Taken, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    for reason, count in version.summary["left_out"].items():
        if count:
            click.echo(f"left out: {count} {reason}", err=True)
    click.echo(f"dataset {version.name}")


if __name__ == "__main__":
    main()
