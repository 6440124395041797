"""Which photos make a data set: nobody in two splits, no copy of a test photo in training, no contradiction taught."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from data_assets.failures import PermanentFailure
from data_assets.laundry import copies, sifting, working
from data_assets.laundry.versions import Row
from ml_bentos.laundry import extraction
from ml_bentos.laundry.dataset import is_test_helper

TESTED = next(name for name in map(str, range(99)) if is_test_helper(name))
TAUGHT = [name for name in map(str, range(99)) if sifting.split_of(name) == "train"]


def photo(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (7, 7, 3), dtype=np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)


def hashed(picture: Image.Image) -> tuple[str, str]:
    return copies.hashes(np.asarray(picture.convert("RGB"))[:, :, ::-1].astype(np.uint8))


def row(name: str, group: str, picture: Image.Image | None = None, state: str = "hung") -> Row:
    phash = hashed(picture if picture is not None else photo(sum(map(ord, name)) * 7919))
    return Row(name, group, None, "hanging", state, "import", None, sifting.split_of(group), *phash)


def reencoded(picture: Image.Image) -> Image.Image:
    written = io.BytesIO()
    ImageEnhance.Brightness(picture.resize((200, 150))).enhance(1.1).save(written, "JPEG", quality=40)
    return Image.open(written)


def test_the_split_is_a_function_of_the_group_alone() -> None:
    splits = [sifting.split_of(f"group-{number}") for number in range(4000)]
    assert splits == [sifting.split_of(f"group-{number}") for number in range(4000)]
    shares = {split: splits.count(split) / len(splits) for split in ("train", "validation", "test")}
    assert 0.22 < shares["test"] < 0.28
    assert 0.12 < shares["validation"] < 0.18
    assert all((sifting.split_of(name) == "test") == is_test_helper(name) for name in map(str, range(200)))


def test_a_pseudonym_is_no_id_and_the_same_each_time() -> None:
    assert sifting.pseudonym("member-1") == sifting.pseudonym("member-1") != sifting.pseudonym("member-2")
    assert "member" not in sifting.pseudonym("member-1")


@pytest.mark.parametrize("change", [reencoded, ImageOps.mirror, lambda picture: reencoded(ImageOps.mirror(picture))])
def test_copies_of_a_test_photo_are_not_taught(change: object) -> None:
    original = photo(1)
    copied = change(original)  # type: ignore[operator]
    rows = [row("tested", TESTED, original), row("copied", TAUGHT[0], copied), row("other", TAUGHT[0], photo(2))]
    found = sifting.sift(rows)
    assert {each.sha256 for each in found.rows} == {"tested", "other"}
    assert found.left_out["copies_of_test_photos"] == 1


def test_the_very_file_in_both_splits_stays_in_test_alone() -> None:
    rows = [row("same", TESTED, photo(1)), row("other", TESTED, photo(2))]
    taught = Row(**{**vars(row("same", TAUGHT[0], photo(1))), "task": "sorting"})
    found = sifting.sift([*rows, taught])
    assert [(each.sha256, each.split) for each in found.rows] == [("same", "test"), ("other", "test")]


def test_contradictions_are_left_out_and_counted() -> None:
    rows = [
        row("torn", TAUGHT[0]),
        row("torn", TAUGHT[0], state="flat"),
        row("twice", TAUGHT[1]),
        row("twice", TAUGHT[1]),
    ]
    found = sifting.sift(rows)
    assert [each.sha256 for each in found.rows] == ["twice"]
    assert found.left_out == {"contradictory": 1, "repeated": 2, "copies_of_test_photos": 0}


def test_a_leak_is_found() -> None:
    clean = [row("a", TAUGHT[0]), row("b", TESTED)]
    assert sifting.leaks(clean) == []
    moved = Row(**{**vars(clean[0]), "sha256": "c", "split": "test"})
    assert any("group" in found for found in sifting.leaks([*clean, moved]))
    original = photo(1)
    copied = [row("a", TESTED, original), row("b", TAUGHT[0], reencoded(original))]
    assert sifting.leaks(copied) == ["photo b is a copy of one in the test split"]


def many(states: tuple[str, ...], groups: list[str], count: int = 30) -> list[Row]:
    return [
        Row(
            f"{state}-{n}", groups[n % len(groups)], None, "hanging", state, "import", None, "train", "0" * 16, "0" * 16
        )
        for state in states
        for n in range(count)
    ]


def test_enough_is_enough() -> None:
    assert sifting.must_teach(many(("hung", "flat"), TAUGHT[:5]), {"hanging": "hung"}) == ["hanging"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no photos"),
        (many(("hung",), TAUGHT[:5]), "20 photos of each of two states"),
        (many(("hung", "flat"), TAUGHT[:5], 10), "'hung': 10"),
        (many(("hung", "flat"), TAUGHT[:2]), "4 helpers"),
        (many(("hung", "flat", "wet"), TAUGHT[:5]), "wet"),
        (many(("wet", "flat"), TAUGHT[:5]), "should be done"),
    ],
)
def test_what_is_lacking_is_said(rows: list[Row], message: str) -> None:
    with pytest.raises(PermanentFailure, match=message):
        sifting.must_teach(rows, {"hanging": "hung"})


def test_the_working_folder_does_not_grow_for_ever(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "last", "older", "oldest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "views.npy").write_bytes(b"x")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert working.tidy(tmp_path, "new") == ["older", "oldest"]
    assert {each.name for each in tmp_path.iterdir()} == {"new", "last"}


def test_features_of_photos_that_are_gone_are_forgotten_whatever_network_made_them(tmp_path: Path) -> None:
    pair = np.ones((2, 2), np.float32)
    for network, names in (("a", ["kept", "gone"]), ("b", ["gone"])):
        np.savez(tmp_path / f"features-{network}.npz", sha=np.array(names), a=pair[: len(names)], b=pair[: len(names)])
    (tmp_path / "features-c.npz").write_bytes(b"half a file")
    assert extraction.forget(tmp_path, {"kept"}) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["features-a.npz"]
    assert list(np.load(tmp_path / "features-a.npz")["sha"]) == ["kept"]
    assert extraction.forget(tmp_path, {"kept"}) == 0
    assert extraction.forget(tmp_path / "none", {"kept"}) == 0
