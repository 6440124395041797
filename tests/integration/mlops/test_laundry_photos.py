"""The judge on real photos of garments: taught with some helpers', asked about others', and shown faces."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ml_bentos.face.images import decode_image
from ml_bentos.laundry import dataset, package, train

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
def trained(subset: Path, lfw: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says at its end."""
    strange = tmp_path_factory.mktemp("faces")
    for person in sorted(lfw.iterdir())[:40]:
        photo = min(person.glob("*.jpg"))
        shutil.copyfile(photo, strange / photo.name)
    command = [
        sys.executable,
        "-m",
        "ml_bentos.laundry.train",
        "--data",
        str(subset),
        "--others",
        str(strange),
        "--json",
    ]
    environment = {**os.environ, "SMARTFIT_MODELS_DIR": str(models_dir)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    shares = [line["progress"] for line in lines if "progress" in line]
    assert shares == sorted(shares)
    return dict(lines[-1])


def test_it_learns_to_tell_hung_from_flat(trained: dict[str, Any]) -> None:
    metrics = trained["metrics"]
    assert metrics["accuracy"] >= 0.75
    assert metrics["accuracy_answered"] >= metrics["accuracy"] - 0.05
    assert metrics["refused_others"] >= 0.8
    assert metrics["refused_in_kind"] <= 0.2
    described = package.describe(trained["version"])
    assert described["dataset"]["digest"] == trained["dataset"]
    assert described["metrics"] == metrics
    assert package.describe(trained["version"])["kinds"] == ["hanging"]


def test_photos_get_their_verdicts_and_faces_get_none(trained: dict[str, Any], subset: Path, lfw: Path) -> None:
    model = package.load(trained["version"])
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


def test_a_photo_is_judged_the_same_in_every_size_and_way_up(trained: dict[str, Any], subset: Path) -> None:
    import cv2

    model = package.load(trained["version"])
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


@pytest.mark.parametrize("missing", ["models", "data", "labels"])
def test_the_command_says_what_is_wrong(models_dir: Path, tmp_path: Path, missing: str) -> None:
    (tmp_path / "labels.csv").write_text("image,helper\n")
    data = tmp_path / "gone" if missing == "data" else tmp_path
    environment = {"SMARTFIT_MODELS_DIR": None if missing == "models" else str(models_dir)}
    done = CliRunner().invoke(train.main, ["--data", str(data)], env=environment)
    assert done.exit_code == 1
    assert {"models": "SMARTFIT_MODELS_DIR", "data": "labels.csv", "labels": "no column"}[missing] in done.stderr
