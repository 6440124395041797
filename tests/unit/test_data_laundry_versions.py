"""A version of the data set is written once, whole or not at all, and what is read is what was put there."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_assets import datasets
from data_assets.failures import PermanentFailure
from data_assets.laundry import importing, sifting, versions
from data_assets.laundry.versions import Row
from platform_api.core.encryption import KeyRing
from platform_api.core.settings import Settings
from platform_api.core.storage import ObjectStore

NOT_IN_TEST = [name for name in map(str, range(60)) if sifting.split_of(name) != "test"]


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    KeyRing.generate().to_file(tmp_path / "ring.json")
    return tmp_path / "ring.json"


@pytest.fixture
def store(tmp_path: Path, ring: Path) -> ObjectStore:
    return ObjectStore.from_settings(Settings(storage_url=(tmp_path / "objects").as_uri(), keyring_file=ring))


def picture(seed: int) -> bytes:
    """A JPEG like no other."""
    grid = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(grid).resize((96, 96), Image.Resampling.BICUBIC).save(written, "JPEG")
    return written.getvalue()


def row(sha256: str, group: str = "48", source: versions.Source = "import", **more: str | None) -> Row:
    values = {
        "day": None,
        "task": "hanging",
        "state": "hung",
        "task_id": None,
        "phash": "0" * 16,
        "phash_mirrored": "f" * 16,
    }
    return Row(sha256=sha256, group=group, source=source, split=sifting.split_of(group), **{**values, **more})  # type: ignore[arg-type]


def test_a_version_reads_as_it_was_written(store: ObjectStore) -> None:
    photos = [versions.put_photo(store, picture(n)) for n in range(3)]
    rows = [
        row(photos[0]),
        row(photos[1], "7", state="flat"),
        row(photos[2], "p", "decision", day="2026-11-26", task_id="t"),
    ]
    written = versions.write(store, "first", rows, {"hanging": "hung"}, {"contradictory": 2}, ["parent"])
    found = versions.read(store, "first")
    assert found == written
    assert set(found.rows) == set(rows)
    assert found.summary["counts"] == {"hanging": {"hung": 2, "flat": 1}}
    assert (found.summary["photos"], found.summary["groups"]) == (3, 3)
    assert (found.summary["parents"], found.summary["left_out"]) == (["parent"], {"contradictory": 2})
    assert [data for _, data in versions.take_out(store, rows)] == [picture(n) for n in range(3)]


def test_nothing_lies_there_in_the_open(store: ObjectStore) -> None:
    versions.write(store, "first", [row(versions.put_photo(store, picture(1)))], {"hanging": "hung"}, {})
    for key in store.list("datasets"):
        raw = store.get(key, sealed=False)
        assert b"hanging" not in raw
        assert b"JFIF" not in raw


def test_a_version_is_never_written_over(store: ObjectStore) -> None:
    versions.write(store, "first", [row("a" * 64)], {"hanging": "hung"}, {})
    with pytest.raises(datasets.Taken):
        versions.write(store, "first", [row("b" * 64)], {"hanging": "hung"}, {})
    assert [each.sha256 for each in versions.read(store, "first").rows] == ["a" * 64]


def test_half_a_version_is_none(store: ObjectStore) -> None:
    versions.write(store, "first", [row("a" * 64)], {"hanging": "hung"}, {})
    store.delete("datasets/laundry/first/summary.json")
    with pytest.raises(PermanentFailure, match="no data set first"):
        versions.read(store, "first")
    # The one that was not finished is no obstacle to another try.
    versions.write(store, "first", [row("b" * 64)], {"hanging": "hung"}, {})


@pytest.mark.parametrize("part", ["manifest.parquet", "summary.json"])
def test_a_damaged_version_says_so(store: ObjectStore, part: str) -> None:
    versions.write(store, "first", [row("a" * 64)], {"hanging": "hung"}, {})
    key = f"datasets/laundry/first/{part}"
    store.put(key, store.get(key, sealed=False)[:-3], sealed=False)
    with pytest.raises(PermanentFailure, match="damaged"):
        versions.read(store, "first")


def test_a_manifest_of_another_version_does_not_pass(store: ObjectStore) -> None:
    versions.write(store, "first", [row("a" * 64)], {"hanging": "hung"}, {})
    versions.write(store, "second", [row("b" * 64)], {"hanging": "hung"}, {})
    store.put(
        "datasets/laundry/first/manifest.parquet", store.get("datasets/laundry/second/manifest.parquet", True), True
    )
    with pytest.raises(PermanentFailure, match="does not fit"):
        versions.read(store, "first")


def test_a_damaged_photo_stops_and_is_named(store: ObjectStore) -> None:
    sha256 = versions.put_photo(store, picture(1))
    key = versions.photo_key(sha256)
    store.put(key, picture(2), sealed=True)
    with pytest.raises(PermanentFailure, match=sha256[:12]):
        list(versions.take_out(store, [row(sha256)]))
    store.put(key, b"\x00" * 100, sealed=False)
    with pytest.raises(PermanentFailure, match="damaged"):
        list(versions.take_out(store, [row(sha256)]))


def test_a_missing_photo_stops_unless_it_was_erased(store: ObjectStore) -> None:
    gone = hashlib.sha256(b"gone").hexdigest()
    with pytest.raises(PermanentFailure, match="import the folder again"):
        list(versions.take_out(store, [row(gone)]))
    assert list(versions.take_out(store, [row(gone, source="decision", task_id="t")])) == []


def folder(path: Path, rows: int = 200) -> Path:
    path.mkdir()
    lines = ["image,helper,task,state"]
    for number in range(rows):
        (path / f"{number}.jpg").write_bytes(picture(number))
        lines.append(f"{number}.jpg,{number % 20},hanging,{'hung' if number // 20 % 2 else 'flat'}")
    (path / "labels.csv").write_text("\n".join(lines) + "\n")
    return path


def test_a_folder_is_imported_by_command(tmp_path: Path, ring: Path, store: ObjectStore) -> None:
    environment = {"SMARTFIT_STORAGE_URL": (tmp_path / "objects").as_uri(), "SMARTFIT_KEYRING_FILE": str(ring)}
    source = folder(tmp_path / "photos")
    (source / "3.jpg").write_bytes(b"no photo")
    done = CliRunner().invoke(importing.main, [str(source), "--name", "first"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "dataset first\n")
    assert "1 unreadable" in done.stderr
    found = versions.read(store, "first")
    assert found.done_states == {"hanging": "hung"}
    assert {each.group for each in found.rows} == set(map(str, range(20)))
    assert len(list(versions.take_out(store, found.rows))) == len(found.rows) > 150
    again = CliRunner().invoke(importing.main, [str(source), "--name", "first"], env=environment)
    assert again.exit_code == 1
    assert "there is a data set first" in again.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: [(f / f"{n}.jpg").write_bytes(b"no photo %d" % n) for n in range(40)], "40 photos do not open"),
        (lambda f: (f / "labels.csv").write_text("image,helper\n"), "no column"),
        (lambda f: (f / "labels.csv").unlink(), "cannot read labels.csv"),
    ],
)
def test_what_cannot_be_imported_leaves_no_version(tmp_path: Path, ring: Path, spoil: object, message: str) -> None:
    environment = {"SMARTFIT_STORAGE_URL": (tmp_path / "objects").as_uri(), "SMARTFIT_KEYRING_FILE": str(ring)}
    source = folder(tmp_path / "photos")
    spoil(source)  # type: ignore[operator]
    done = CliRunner().invoke(importing.main, [str(source), "--name", "first"], env=environment)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not list((tmp_path / "objects").rglob("summary.json"))


@pytest.mark.parametrize("name", ["", "../x", "Upper", "a" * 65])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(importing.main, [str(tmp_path), "--name", name])
    assert done.exit_code == 1
    assert "lower-case letters" in done.stderr
