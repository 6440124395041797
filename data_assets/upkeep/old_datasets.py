"""Old versions of data sets go: each later one holds what still stands of the earlier ones, and the catalogue keeps their figures.

Only versions that a line made (`line-YYYYMMDD-...`) go; imported ones and the reference set are somebody's to delete. The newest
stay whatever their age, and so does the one that the live model was taught with.
"""

import io
import re
from collections.abc import Collection
from datetime import UTC, date, datetime

import pyarrow.parquet as pq

from platform_api.core.storage import ObjectStore

FOLDER = "datasets"
_MADE_BY_A_LINE = re.compile(r"line-(\d{8})-[0-9a-f]+")


def versions_of(store: ObjectStore, model: str) -> dict[str, date]:
    """The whole versions of a model that a line made, with their day."""
    found = {}
    for key in store.list(f"{FOLDER}/{model}"):
        _, _, name, *rest = key.split("/")
        made = _MADE_BY_A_LINE.fullmatch(name)
        if made and rest == ["summary.json"]:
            found[name] = datetime.strptime(made.group(1), "%Y%m%d").replace(tzinfo=UTC).date()
    return found


def too_old(made: dict[str, date], before: date, newest: int, in_use: Collection[str]) -> list[str]:
    """Those made before a day that may go, the oldest first. newest: so many stay whatever their age."""
    ordered = sorted(made, key=lambda name: (made[name], name))
    may_go = ordered[: max(0, len(ordered) - newest)]
    return [name for name in may_go if made[name] < before and name not in in_use]


def drop(store: ObjectStore, model: str, names: Collection[str]) -> int:
    """Delete versions, and the copies of photos that no other version names. Returns how many photos went."""
    going = {sha for name in names for sha in _photos(store, model, name)}
    staying = {
        sha
        for key in store.list(f"{FOLDER}/{model}")
        if key.endswith("/manifest.parquet") and key.split("/")[2] not in names
        for sha in _photos(store, model, key.split("/")[2])
    }
    for name in names:
        # The summary first: from here on there is no such version, however far the rest comes.
        store.delete(f"{FOLDER}/{model}/{name}/summary.json")
    copies = {f"{FOLDER}/{model}/photos/{sha}" for sha in going - staying} & set(store.list(f"{FOLDER}/{model}/photos"))
    for key in copies:
        store.delete(key)
    for name in names:
        store.delete(f"{FOLDER}/{model}/{name}/manifest.parquet")
    return len(copies)


def _photos(store: ObjectStore, model: str, name: str) -> set[str]:
    manifest = io.BytesIO(store.get(f"{FOLDER}/{model}/{name}/manifest.parquet", sealed=True))
    if "sha256" not in pq.read_schema(manifest).names:
        return set()
    manifest.seek(0)
    return set(pq.read_table(manifest, columns=["sha256"]).column("sha256").to_pylist())
