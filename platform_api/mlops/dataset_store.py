"""Data sets in the object store: the photos sealed, since people may stand in them, and a manifest that names each.

    datasets/<model>/<name>/manifest.json, photos/<sha256>

The manifest is written last, so that a data set is whole or not there. What is taken out is a folder as the training wants
it, with each photo checked against its SHA-256.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_bentos.laundry import dataset as laundry
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

MOST_PHOTOS = 500_000


class DatasetMissing(Exception):
    """The object store has no such data set, or a damaged one; says which part."""


@dataclass(frozen=True)
class Manifest:
    """photos: with their labels; done: which state of each task means done; digest: SHA-256 over all."""

    photos: tuple[laundry.Labelled, ...]
    done: dict[str, str]
    digest: str

    def counts(self) -> dict[str, dict[str, int]]:
        """{task: {state: photos}}."""
        found: dict[str, Counter[str]] = {}
        for photo in self.photos:
            found.setdefault(photo.task, Counter())[photo.state] += 1
        return {task: dict(states) for task, states in sorted(found.items())}

    @property
    def helpers(self) -> int:
        """How many people the photos are from."""
        return len({photo.helper for photo in self.photos})


def prefix(model: str, name: str) -> str:
    """The folder of a data set in the object store."""
    return f"datasets/{model}/{name}"


def put(store: ObjectStore, model: str, name: str, data: laundry.Dataset) -> Manifest:
    """Bring a folder of labelled photos into the object store.

    Raises:
        FileExistsError: there is one of that name; a data set never changes.
    """
    place = prefix(model, name)
    if store.exists(f"{place}/manifest.json"):
        raise FileExistsError(place)
    for photo in data.photos:
        store.put(f"{place}/photos/{photo.sha256}", (data.folder / photo.image).read_bytes(), sealed=True)
    document = {"photos": [asdict(photo) for photo in data.photos], "done": data.done, "digest": data.digest}
    store.put(f"{place}/manifest.json", json.dumps(document).encode(), sealed=True)
    return Manifest(data.photos, data.done, data.digest)


def read(store: ObjectStore, model: str, name: str) -> Manifest:
    """The manifest of a data set. Raises DatasetMissing."""
    try:
        document: Any = json.loads(store.get(f"{prefix(model, name)}/manifest.json", sealed=True))
        photos = tuple(laundry.Labelled(**row) for row in document["photos"])
        manifest = Manifest(photos, {str(k): str(v) for k, v in document["done"].items()}, laundry.digest_of(photos))
    except FileNotFoundError as error:
        raise DatasetMissing(f"there is no {prefix(model, name)}/manifest.json") from error
    except (DecryptionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetMissing(f"the manifest of {name} is damaged: {type(error).__name__}") from error
    if not photos or len(photos) > MOST_PHOTOS or manifest.digest != document.get("digest"):
        raise DatasetMissing(f"the manifest of {name} does not fit its digest")
    return manifest


def take_out(store: ObjectStore, model: str, name: str, folder: Path, tell: Callable[[int, int], None]) -> Manifest:
    """Write a data set as a folder that can be trained from. tell: called with how many photos are there, of how many.

    Raises:
        DatasetMissing: a photo is missing or not the one that was labelled.
    """
    manifest = read(store, model, name)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "helper", "task", "state"])
        rows.writerows([f"photos/{p.sha256}", p.helper, p.task, p.state] for p in manifest.photos)
    wanted = sorted({photo.sha256 for photo in manifest.photos})
    for number, sha256 in enumerate(wanted, 1):
        try:
            data = store.get(f"{prefix(model, name)}/photos/{sha256}", sealed=True)
        except (FileNotFoundError, DecryptionError) as error:
            raise DatasetMissing(f"photo {sha256} of {name}: {type(error).__name__}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DatasetMissing(f"photo {sha256} of {name} is not the one that was labelled")
        (folder / "photos" / sha256).write_bytes(data)
        if number % 100 == 0 or number == len(wanted):
            tell(number, len(wanted))
    return manifest
