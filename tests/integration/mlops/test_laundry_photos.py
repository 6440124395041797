"""The judge on real photos of garments: taught with some helpers', asked about others', and shown faces."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ml_bentos.face.images import decode_image
from ml_bentos.laundry import dataset, package, teaching

TAUGHT, ASKED = 48, 12


@pytest.fixture(scope="module")
def subset(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few photos of each state, from as many helpers as there are, of both splits."""
    source = data_dir / "laundry"
    if not (source / "labels.csv").is_file():
        pytest.skip("SMARTFIT_DATA has no laundry/labels.csv")
    folder = tmp_path_factory.mktemp("garments")
    with (source / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "hanging"]
    of_helper: Counter[tuple[str, str]] = Counter()
    room = {(state, test): ASKED if test else TAUGHT for state in ("hung", "flat") for test in (True, False)}
    kept = []
    for row in rows:
        place = row["state"], dataset.is_test_helper(row["helper"])
        of_helper[row["helper"], row["state"]] += 1
        if room[place] and of_helper[row["helper"], row["state"]] <= 12:
            room[place] -= 1
            kept.append(row)
    for row in kept:
        target = folder / row["image"]
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source / row["image"], target)
    with (folder / "labels.csv").open("w", newline="") as file:
        written = csv.DictWriter(file, ["image", "helper", "task", "state"])
        written.writeheader()
        written.writerows(kept)
    return folder


@pytest.fixture(scope="module")
def trained(subset: Path, models_dir: Path) -> str:
    """A version taught with them."""
    return teaching.quick(dataset.read(subset))


def test_it_learns_to_tell_hung_from_flat(trained: str, subset: Path) -> None:
    described = package.describe(trained)
    metrics = described["metrics"]
    assert metrics["accuracy"] >= 0.75
    assert metrics["accuracy_answered"] >= metrics["accuracy"] - 0.05
    assert metrics["refused_in_kind"] <= 0.2
    assert described["dataset"]["digest"] == dataset.read(subset).digest
    assert described["kinds"] == ["hanging"]
    assert described["features"]["top_taught"] is False


def test_photos_get_their_verdicts_and_faces_get_none(trained: str, subset: Path, lfw: Path) -> None:
    model = package.load(trained)
    with (subset / "labels.csv").open(newline="") as file:
        asked = [row for row in csv.DictReader(file) if dataset.is_test_helper(row["helper"])]
    said = [(row, model.judge("hanging", decode_image((subset / row["image"]).read_bytes()))) for row in asked]
    answered = [(row, judged) for row, judged in said if judged.verdict != "unclear"]
    right = [(judged.verdict == "done") == (row["state"] == "hung") for row, judged in answered]
    assert len(answered) >= 0.4 * len(said)
    assert np.mean(right) >= 0.75
    people = sorted(lfw.iterdir())[40:60]
    verdicts = [model.judge("hanging", decode_image(min(person.glob("*.jpg")).read_bytes())) for person in people]
    assert sum(judged.reason == "out_of_kind" for judged in verdicts) >= 0.8 * len(verdicts)


def test_a_photo_is_judged_the_same_in_every_size_and_way_up(trained: str, subset: Path) -> None:
    import cv2

    model = package.load(trained)
    with (subset / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:12]
    for row in rows:
        bgr = decode_image((subset / row["image"]).read_bytes())
        head = model.heads["hanging"]
        whole = head.probability(model.backbone.features(bgr))
        half = head.probability(
            model.backbone.features(cv2.resize(bgr, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA))
        )
        assert abs(whole - half) < 0.25
