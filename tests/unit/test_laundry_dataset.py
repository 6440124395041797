"""A folder of labelled photos is read, checked, and split by helper for ever."""

from pathlib import Path

import pytest

from ml_bentos.laundry import dataset
from ml_bentos.laundry.dataset import DatasetError, Labelled


def folder(path: Path, rows: list[str] | None = None, header: str = "image,helper,task,state") -> Path:
    """Enough photos for a task; `rows` in their place where given."""
    lines = rows
    if lines is None:
        lines = []
        for number in range(200):
            name = f"{number}.jpg"
            (path / name).write_bytes(b"photo %d" % number)
            lines.append(f"{name},{number % 20},hanging,{'hung' if number // 20 % 2 else 'flat'}")
    (path / "labels.csv").write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def test_a_folder_is_read(tmp_path: Path) -> None:
    data = dataset.read(folder(tmp_path))
    assert (len(data.photos), data.done, data.passed_over) == (200, {"hanging": "hung"}, ())
    assert 0 < sum(photo.in_test for photo in data.photos) < 100


def test_nobody_is_in_two_splits_whatever_comes_in_later(tmp_path: Path) -> None:
    data = dataset.read(folder(tmp_path))
    split = {photo.helper: photo.in_test for photo in data.photos}
    assert all(split[photo.helper] == photo.in_test for photo in data.photos)
    assert [name for name in map(str, range(40)) if dataset.is_test_helper(name)] == [
        name for name in map(str, range(40)) if Labelled("x", name, "sorting", "tshirt", "0").in_test
    ]
    shares = [dataset.is_test_helper(f"helper-{number}") for number in range(4000)]
    assert 0.22 < sum(shares) / len(shares) < 0.28


def test_the_digest_is_that_of_photos_and_labels(tmp_path: Path) -> None:
    first = dataset.read(folder(tmp_path))
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert dataset.read(tmp_path).digest == first.digest
    (tmp_path / "labels.csv").write_text("\n".join([*lines[:-1], lines[-1].replace("hung", "flat")]))
    assert dataset.read(tmp_path).digest != first.digest


def test_a_photo_counts_once_and_one_with_both_labels_not_at_all(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "copy.jpg").write_bytes(b"photo 0")
    (path / "torn.jpg").write_bytes(b"photo 1")
    with (path / "labels.csv").open("a") as file:
        file.write("copy.jpg,0,hanging,flat\ntorn.jpg,1,hanging,hung\n")
    data = dataset.read(path)
    assert len(data.photos) == 199
    assert any("both labels" in note for note in data.passed_over)


def test_states_may_be_plain_labels_or_named(tmp_path: Path) -> None:
    path = folder(tmp_path)
    text = (path / "labels.csv").read_text()
    (path / "labels.csv").write_text(
        text.replace("hanging", "mopping").replace("hung", "done").replace("flat", "not_done")
    )
    assert dataset.read(path).done == {"mopping": "done"}
    (path / "labels.csv").write_text(text.replace("hanging", "mopping"))
    with pytest.raises(DatasetError, match="which of flat, hung is done"):
        dataset.read(path)
    assert dataset.read(path, {"mopping": "flat"}).done == {"mopping": "flat"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["../x.jpg,1,hanging,hung"], "leads out"),
        (["/etc/hostname,1,hanging,hung"], "leads out"),
        (["gone.jpg,1,hanging,hung"], "cannot read"),
        (["a.jpg,,hanging,hung"], "no helper"),
        (["a.jpg,1,Hänging!,hung"], "not the name of a task"),
        (["a.jpg,1,hanging"], "no state"),
        ([], "empty"),
        (["a.jpg,1,hanging,hung"], "needs 20 photos"),
        (["a.jpg,1,hanging,hung", "b.jpg,1,hanging,flat", "c.jpg,1,hanging,wet"], "more than two states"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    with pytest.raises(DatasetError, match=message):
        dataset.read(folder(tmp_path, rows))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read labels\.csv"):
        dataset.read(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(DatasetError):
        dataset.read(tmp_path)
    with pytest.raises(DatasetError, match="no column state, task"):
        dataset.read(folder(tmp_path, [], "image,helper"))


def test_photos_of_too_few_people_teach_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path)
    one = next(name for name in map(str, range(99)) if not dataset.is_test_helper(name))
    lines = [line.split(",") for line in (path / "labels.csv").read_text().splitlines()]
    (path / "labels.csv").write_text(
        "\n".join(",".join([line[0], one, *line[2:]]) for line in lines).replace(f"image,{one}", "image,helper")
    )
    with pytest.raises(DatasetError, match="needs photos of 4 helpers"):
        dataset.read(path)
