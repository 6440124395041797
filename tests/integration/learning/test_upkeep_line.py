"""Old runs of a real instance of Dagster and old versions of data sets go; what is still needed stays."""

import io
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_assets.upkeep import old_datasets, old_runs
from platform_api.core import clock
from platform_api.core.storage import ObjectStore
from tests.learning_world import object_store


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, keys: Any) -> ObjectStore:
    return object_store(tmp_path / "store", keys.keyring_file)


@dg.asset
def rare() -> None:
    """Made once."""


@dg.asset
def often() -> None:
    """Made again and again."""


@dg.asset
def broken() -> None:
    """Never made."""
    raise ValueError("no")


def made(instance: dg.DagsterInstance, asset: Any, times: int = 1) -> list[str]:
    return [dg.materialize([asset], instance=instance, raise_on_error=False).run_id for _ in range(times)]


def left(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_old_runs_go_with_their_events_and_the_last_of_each_asset_stays(instance: dg.DagsterInstance) -> None:
    first, *rest, last = made(instance, often, 4)
    (once,) = made(instance, rare)
    (failed,) = made(instance, broken)
    assert old_runs.drop(instance, clock.now() - timedelta(days=1)) == 0
    assert left(instance) == {first, *rest, last, once, failed}
    assert old_runs.drop(instance, clock.now() + timedelta(seconds=5)) == 4
    assert left(instance) == {last, once}
    assert instance.all_logs(first) == []
    assert instance.get_latest_materialization_event(dg.AssetKey("rare")) is not None
    assert old_runs.drop(instance, clock.now() + timedelta(seconds=5)) == 0


def test_runs_that_are_not_over_stay(instance: dg.DagsterInstance) -> None:
    job = dg.define_asset_job("line", [often]).resolve(asset_graph=dg.Definitions([often]).resolve_asset_graph())
    running = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    assert old_runs.drop(instance, clock.now() + timedelta(seconds=5)) == 0
    assert left(instance) == {running}


def version(store: ObjectStore, name: str, *photos: str) -> None:
    for photo in photos:
        store.put(f"datasets/laundry/photos/{photo}", b"jpeg", sealed=True)
    manifest = io.BytesIO()
    pq.write_table(pa.table({"sha256": list(photos)}), manifest)
    store.put(f"datasets/laundry/{name}/manifest.parquet", manifest.getvalue(), sealed=True)
    store.put(f"datasets/laundry/{name}/summary.json", json.dumps({"name": name}).encode(), sealed=True)


def names(store: ObjectStore) -> set[str]:
    return set(old_datasets.versions_of(store, "laundry"))


def test_old_versions_go_with_the_photos_that_only_they_name(store: ObjectStore) -> None:
    version(store, "line-20200101-aaaaaaaa", "a", "b")
    version(store, "line-20210101-bbbbbbbb", "b", "c")
    version(store, "line-20260101-cccccccc", "c", "d")
    version(store, "imported", "e")
    found = old_datasets.versions_of(store, "laundry")
    # Imported ones are nobody's to delete here.
    assert (
        set(found)
        == names(store)
        == {f"line-{day}" for day in ("20200101-aaaaaaaa", "20210101-bbbbbbbb", "20260101-cccccccc")}
    )
    going = old_datasets.too_old(found, date(2025, 1, 1), newest=1, in_use=())
    assert going == ["line-20200101-aaaaaaaa", "line-20210101-bbbbbbbb"]
    assert old_datasets.drop(store, "laundry", going) == 2
    assert names(store) == {"line-20260101-cccccccc"}
    assert store.list("datasets/laundry/photos") == [f"datasets/laundry/photos/{photo}" for photo in "cde"]


@pytest.mark.parametrize(
    ("newest", "in_use", "going"),
    [(1, [], ["line-20200101-aaaaaaaa", "line-20210101-bbbbbbbb"]), (2, [], ["line-20200101-aaaaaaaa"]), (3, [], []),
     (1, ["line-20200101-aaaaaaaa"], ["line-20210101-bbbbbbbb"])],
)  # fmt: skip
def test_the_newest_and_those_in_use_stay_whatever_their_age(
    store: ObjectStore, newest: int, in_use: list[str], going: list[str]
) -> None:
    for name in ("line-20200101-aaaaaaaa", "line-20210101-bbbbbbbb", "line-20220101-cccccccc"):
        version(store, name, "a")
    found = old_datasets.versions_of(store, "laundry")
    assert old_datasets.too_old(found, date(2025, 1, 1), newest, in_use) == going
    # None of them is old enough.
    assert old_datasets.too_old(found, date(2019, 1, 1), newest, in_use) == []
