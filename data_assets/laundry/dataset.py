"""The next version of the data set: what the newest one holds, and every photo that people have decided about since.

Confirmations as well as corrections: of corrections alone a judge learns what it got wrong, and forgets what it got right (0.929
against 0.881 on real photos). Photos of tasks that helper shows no longer (their helper was erased, their time is up) are left
out of the version, and the copies of them that earlier versions used are deleted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from data_assets import datasets, failures, publishing
from data_assets.failures import PermanentFailure
from data_assets.laundry import decisions, sifting, versions
from data_assets.laundry.copies import hashes
from data_assets.laundry.decisions import Decided
from data_assets.laundry.versions import Row, Version
from data_assets.platform import Platform
from data_assets.reading import Reader
from ml_bentos.cores import side_by_side
from ml_bentos.face.images import ImageProblem, decode_image
from ml_bentos.laundry.dataset import DONE_STATES
from platform_api.core import clock
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

MOST_UNREADABLE = 0.05
"""Of the decided photos; more of them, and the store is at fault and not a photo."""
FEW = 3
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=90), warn_window=timedelta(days=45))
"""Garments, rooms and phones change with the season: a judge that was taught nothing for one is worth a look."""
PLAIN = ("done", "not_done")


class DatasetConfig(dg.Config):
    """existing: name of a version to go by, in place of making a new one."""

    existing: str = ""


@dg.asset(
    key_prefix="laundry",
    name="dataset",
    group_name="laundry",
    deps=[decisions.decisions],
    freshness_policy=FRESH,
    kinds={"parquet"},
)
def dataset(
    context: dg.AssetExecutionContext,
    config: DatasetConfig,
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
    platform: dg.ResourceParam[Platform],
) -> dg.Output[dict[str, Any]]:
    """A version of the data set, in the object store and in the catalogue."""
    with failures.told(context.retry_number):
        if config.existing:
            version = versions.read(store, config.existing)
        else:
            name = f"line-{clock.now():%Y%m%d}-{context.run.run_id[:8]}"
            parent = newest(platform, store)
            version = grown(store, name, parent, decisions.kept(store), decisions.standing(reader))
            publishing.register_dataset(platform, versions.MODEL, name, decisions.through(store), context.run.run_id)
        context.log.info(f"data set {version.name}: {version.summary['photos']} photos, {version.summary['splits']}")
        value = {
            "dataset": version.name,
            "digest": version.digest,
            "tasks": sifting.must_teach(version.rows, version.done_states),
        }
        return dg.Output(value, metadata=_figures(version))


def newest(platform: Platform, store: ObjectStore) -> Version | None:
    """The newest version that the catalogue knows; None where it knows none."""
    name = publishing.newest_dataset(platform, versions.MODEL)
    return versions.read(store, name) if name else None


def grown(
    store: ObjectStore, name: str, parent: Version | None, decided: Iterable[Decided], standing: set[str]
) -> Version:
    """Write the version `name`: `parent` and the decided photos of the tasks that stand.

    A version of that name that is there already is given back: the step was tried again.

    Raises:
        PermanentFailure: too little to learn from, or too many photos that are missing or damaged.
    """
    if datasets.is_there(store, versions.MODEL, name):
        return versions.read(store, name)
    before = list(parent.rows) if parent else []
    gone = [row for row in before if row.task_id is not None and row.task_id not in standing]
    rows = [row for row in before if row not in set(gone)]
    done = dict(parent.done_states) if parent else {}
    names = {task: _names(task, rows, done) for task in {row.task for row in rows}}
    known = {row.sha256: row for row in rows}
    trouble: Counter[str] = Counter()
    added = 0
    wanted: list[tuple[Decided, str]] = []
    for each in decided:
        if each.task_id not in standing:
            trouble["helper_gone"] += 1
            continue
        wanted.append((each, names.get(each.task, PLAIN)[PLAIN.index(each.label)]))
        done.setdefault(each.task, "done")
    with side_by_side() as pool:
        for found in pool.map(lambda one: _row(store, one[0], one[1], known), wanted):
            if isinstance(found, Row):
                rows.append(found)
                added += 1
            else:
                trouble[found] += 1
    broken = trouble["missing"] + trouble["damaged"]
    if broken > max(FEW, MOST_UNREADABLE * (added + broken)):
        raise PermanentFailure(
            f"확인된 사진 {added + broken}장 중 {broken}장이 없거나 손상되었습니다. 저장소를 확인한 뒤 다시 실행하세요.",
            f"Of {added + broken} decided photos {broken} are missing or damaged; look after the store and run it again.",
        )
    rows = _latest(rows)
    sifted = sifting.sift(rows)
    sifting.must_teach(sifted.rows, done)
    _forget(store, gone, sifted.rows)
    notes = {**sifted.left_out, **trouble, "of_earlier_versions_gone": len(gone)}
    return versions.write(store, name, sifted.rows, done, notes, [parent.name] if parent else [])


def _names(task: str, rows: Iterable[Row], done: Mapping[str, str]) -> tuple[str, str]:
    """What done and not done are called in a task of an imported folder."""
    states = {row.state for row in rows if row.task == task}
    named = done.get(task) or DONE_STATES.get(task, "done")
    other = sorted(states - {named})
    return named, other[0] if other else "not_done"


def _row(store: ObjectStore, each: Decided, state: str, known: Mapping[str, Row]) -> Row | str:
    """The row of a decided photo, copied to the data set's photos; or why there is none."""
    split = sifting.split_of(each.group)
    before = known.get(each.sha256)
    if before is not None and store.exists(versions.photo_key(each.sha256)):
        hashed = before.phash, before.phash_mirrored
    else:
        try:
            data = store.get(each.object_key, sealed=True)
            bgr = decode_image(data)
        except FileNotFoundError:
            return "missing"
        except (DecryptionError, ImageProblem):
            return "damaged"
        if versions.put_photo(store, data) != each.sha256:
            return "damaged"
        hashed = hashes(bgr)
    return Row(each.sha256, each.group, each.day, each.task, state, "decision", each.task_id, split, *hashed)


def _latest(rows: list[Row]) -> list[Row]:
    """A photo of a decided task once: what the task's people said last is in the day files, and later in the list."""
    found: dict[tuple[Any, ...], Row] = {}
    for number, row in enumerate(rows):
        found[(row.task_id, row.task, row.sha256) if row.task_id else (number,)] = row
    return list(found.values())


def _forget(store: ObjectStore, gone: Iterable[Row], rows: Iterable[Row]) -> None:
    used = {row.sha256 for row in rows}
    for row in gone:
        if row.sha256 not in used:
            store.delete(versions.photo_key(row.sha256))


def _figures(version: Version) -> dict[str, Any]:
    table = [
        dg.TableRecord({"task": task, "state": state, "photos": count})
        for task, states in version.summary["counts"].items()
        for state, count in states.items()
    ]
    return {
        "dataset": version.name,
        "digest": version.digest,
        "photos": version.summary["photos"],
        "groups": version.summary["groups"],
        "splits": dg.MetadataValue.json(version.summary["splits"]),
        "left_out": dg.MetadataValue.json(version.summary["left_out"]),
        "counts": dg.MetadataValue.table(table),
    }
