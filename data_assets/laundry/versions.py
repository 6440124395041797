"""Versions of the laundry data set (see `datasets`): a row for each photo of a task.

    datasets/laundry/photos/<sha256>            the photos, sealed, named by their content and shared by all versions

No member's id lies in a manifest: a group is the helper column of an imported folder, or a pseudonym of the helper.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import pyarrow as pa

from data_assets import datasets
from data_assets.failures import PermanentFailure
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

MODEL = "laundry"
Split = Literal["train", "validation", "test"]
Source = Literal["import", "decision"]


@dataclass(frozen=True)
class Row:
    """A photo of a task and what a person said of it.

    Attributes:
        sha256: of the photo, hex.
        group: whose photo it is; nobody is in two splits.
        day: day of the decision (YYYY-MM-DD, UTC), None for imported ones.
        state: such as hung, flat; or done, not_done.
        task_id: of a decision, so that it can be left out once its helper has been erased.
        phash, phash_mirrored: 16 hex digits each.
    """

    sha256: str
    group: str
    day: str | None
    task: str
    state: str
    source: Source
    task_id: str | None
    split: Split
    phash: str
    phash_mirrored: str


SCHEMA = pa.schema([pa.field(field.name, pa.string(), field.name in ("day", "task_id")) for field in fields(Row)])


@dataclass(frozen=True)
class Version:
    """A version as it lies in the store. digest: SHA-256 of the manifest; done_states: which state of a task is done."""

    name: str
    digest: str
    rows: tuple[Row, ...]
    done_states: Mapping[str, str]
    summary: Mapping[str, Any]

    def of(self, split: Split) -> list[Row]:
        """The rows of a split."""
        return [row for row in self.rows if row.split == split]


def photo_key(sha256: str) -> str:
    """Where a photo lies."""
    return f"datasets/{MODEL}/photos/{sha256}"


def put_photo(store: ObjectStore, data: bytes) -> str:
    """Keep a photo; nothing is written where it is there already. Returns its SHA-256."""
    sha256 = hashlib.sha256(data).hexdigest()
    if not store.exists(photo_key(sha256)):
        store.put(photo_key(sha256), data, sealed=True)
    return sha256


def photos(store: ObjectStore) -> set[str]:
    """SHA-256 of all photos that there are."""
    return {key.rsplit("/", 1)[1] for key in store.list(f"datasets/{MODEL}/photos")}


def write(
    store: ObjectStore,
    name: str,
    rows: Sequence[Row],
    done_states: Mapping[str, str],
    notes: Mapping[str, Any],
    parents: Sequence[str] = (),
) -> Version:
    """Write a version whose photos lie in the store already.

    Args:
        notes: what was left out and why, as numbers; kept in the summary.
        parents: names of the versions that its rows come from.

    Raises:
        datasets.Taken: the name is.
    """
    ordered = sorted(rows, key=lambda row: (row.task, row.sha256))
    counts: dict[str, Counter[str]] = {}
    for row in ordered:
        counts.setdefault(row.task, Counter())[row.state] += 1
    summary = {
        "photos": len(ordered),
        "groups": len({row.group for row in ordered}),
        "counts": {task: dict(states) for task, states in counts.items()},
        "splits": dict(Counter(row.split for row in ordered)),
        "done_states": dict(done_states),
        "parents": list(parents),
        "left_out": dict(notes),
    }
    summary = datasets.write(store, MODEL, name, ordered, SCHEMA, summary)
    return Version(name, str(summary["digest"]), tuple(ordered), dict(done_states), summary)


def read(store: ObjectStore, name: str) -> Version:
    """A version. Raises PermanentFailure where it is missing, not whole, or damaged."""
    summary, found = datasets.read(store, MODEL, name, SCHEMA, ("done_states",))
    rows = tuple(Row(**row) for row in found)
    return Version(name, summary["digest"], rows, dict(summary["done_states"]), summary)


def photo(store: ObjectStore, row: Row) -> bytes | None:
    """The photo of a row, checked by its SHA-256; None for a decision's photo that has been erased since.

    Raises:
        PermanentFailure: an imported one is gone, or any is not what was put there.
    """
    try:
        data = store.get(photo_key(row.sha256), sealed=True)
    except FileNotFoundError as error:
        if row.source == "decision":
            return None
        raise PermanentFailure(
            f"사진 {row.sha256[:12]}이(가) 저장소에서 사라졌습니다. 폴더를 다시 가져오세요.",
            f"The photo {row.sha256[:12]} is gone from the object store; import the folder again.",
        ) from error
    except DecryptionError as error:
        raise _damaged(row.sha256) from error
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise _damaged(row.sha256)
    return data


def take_out(store: ObjectStore, rows: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
    """Each row with its photo, checked; those that were erased are passed over. Raises PermanentFailure: see `photo`."""
    for row in rows:
        data = photo(store, row)
        if data is not None:
            yield row, data


def _damaged(sha256: str) -> PermanentFailure:
    return PermanentFailure(
        f"사진 {sha256[:12]}이(가) 손상되었습니다. 저장소를 복구한 뒤 다시 실행하세요.",
        f"The photo {sha256[:12]} is damaged: it is not what was put there. Restore the store and run it again.",
    )
