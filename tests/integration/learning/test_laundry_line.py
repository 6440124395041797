"""The laundry line on real photos: from decisions in helper's tables to a signed version, and every way it may end before."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from sqlalchemy.exc import InternalError, ProgrammingError

from data_assets import failures
from data_assets.laundry import decisions, model, sifting, training_set, versions, working
from data_assets.reading import Reader
from ml_bentos import archives
from ml_bentos.laundry import package, tuning
from platform_api.core.http import ServiceUnavailable
from tests.laundry_world import LaundryWorld, as_folder, chosen, made_world, reading

ROOT = Path(__file__).resolve().parents[3]
LATER = ("label_noise", "training_set", "model", "evaluation", "bento", "deployment")
Photos = list[tuple[Path, str, str, str]]


@pytest.fixture(scope="module", autouse=True)
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model store of this file: BentoML looks up its folder once a process."""
    folder = Path(os.environ.get("BENTOML_HOME", tmp_path_factory.mktemp("models") / "bentoml")).parent
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_MODELS_DIR", str(folder))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder


@pytest.fixture(scope="module")
def photos(data_dir: Path) -> Photos:
    source = data_dir / "laundry"
    if not (source / "labels.csv").is_file():
        pytest.skip("SMARTFIT_DATA has no laundry/labels.csv")
    few = {"train": 20, "validation": 12, "test": 10}
    return chosen(source, "hanging", few) + chosen(source, "sorting", {**few, "train": 14})


@pytest.fixture(scope="module")
def imported(photos: Photos, keys: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the photos as the version `first`; tests work on copies of it."""
    base = tmp_path_factory.mktemp("base")
    world = made_world(base, keys.keyring_file)
    world.imported(as_folder(photos, tmp_path_factory.mktemp("photos") / "all"))
    return base


@pytest.fixture
def world(imported: Path, postgres: Any, keys: Any, empty_database: Any, tmp_path: Path) -> Iterator[LaundryWorld]:
    """An installation that knows the version `first`; what an earlier test worked out of it is there, as on any machine."""
    empty_database("helper")
    for name in ("objects", "work"):
        shutil.copytree(imported / name, tmp_path / name)
    with reading(postgres.urls, postgres.reader_password) as reader:
        made = made_world(tmp_path, keys.keyring_file, reader)
        made.mlops.datasets.append({"name": "first", "confirmations_through": None})
        yield made
    for place in ("features", "laundry/first"):
        if (tmp_path / "work" / place).is_dir():
            shutil.copytree(tmp_path / "work" / place, imported / "work" / place, dirs_exist_ok=True)


def told(result: dg.ExecuteInProcessResult) -> str:
    """Why a run ended: the description of its one failure."""
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data
    return f"{event.step_key}: {failure.user_failure_data.description if failure.user_failure_data else failure.error}"


def short(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Fewer epochs than an installation takes, and a network that is tuned for all the few photos of a test."""
    monkeypatch.setattr(model, "LEAST_HELD", 40)
    plan = tuning.Plan(epochs=epochs, head_epochs=20, steps=3)
    original = model.teach
    monkeypatch.setattr(model, "teach", lambda *values: original(*values, plan))


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    (found,) = result.asset_materializations_for_node(f"laundry__{name}")
    return {key: value.value for key, value in found.metadata.items()}


# --- the way through


def test_from_decisions_to_a_version_that_serves(
    world: LaundryWorld, photos: Photos, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch, 1)
    more = chosen(data_dir / "laundry", "hanging", {"train": 28, "validation": 12, "test": 12})
    new = [photo for photo in more if photo not in set(photos)]
    assert len(new) > 5
    world.decide(new[:4])
    world.decide(new[4:], corrected=True)
    world.mlops.corrected, world.mlops.through = 100, 777
    today = decisions.today()
    result = world.run(partition_key=today)
    assert result.success
    # The data set: what was there and what was decided, named by no member.
    (registered,) = world.mlops.datasets[1:]
    assert registered["confirmations_through"] == 777
    version = versions.read(world.store, registered["name"])
    decided = [row for row in version.rows if row.source == "decision"]
    assert 0 < len(decided) <= len(new)
    assert {row.state for row in decided} <= {"hung", "flat"}
    assert {row.group for row in decided} <= {sifting.pseudonym(helper) for _, helper, _, _ in new}
    assert version.summary["parents"] == ["first"]
    assert sifting.leaks(version.rows) == []
    assert {row.day for row in decided} == {today}
    # The version: signed, the same in the store and in the archive, and it judges.
    (made,) = world.mlops.versions
    (asked,) = world.mlops.deployments
    assert asked["version"] == made["version"]
    archive = world.store.get(f"models/laundry/{made['version']}.tar", sealed=False)
    signer = archives.load_signing_key(world.settings.model_signing_key_file)
    assert archives.install(archive, [signer.public_key()]) == (package.NAME, made["version"])
    described = package.describe(made["version"])
    assert described["dataset"]["digest"] == version.digest
    assert described["metrics"]["accuracy"] > 0.75
    assert package.load(made["version"]).kinds == ["hanging", "sorting"]
    # What the operator sees.
    shown = metadata(result, "evaluation")
    for name in ("confusion", "reliability", "coverage_curve"):
        assert shown[name].startswith("![")
        assert "data:image/png;base64," in shown[name]
    assert 0 <= shown["ece"] < 1
    assert shown["latency_ms"] > 0
    assert metadata(result, "model")["onnx_difference"] < 1e-4
    assert {check.check_name for check in result.get_asset_check_evaluations()} == {
        "no_leak_between_splits", "labels_are_plausible", "not_worse_than_live", "no_task_or_source_worse",
        "probabilities_are_honest", "quick_enough", "small_enough", "onnx_equals_torch",
    }  # fmt: skip

    # Again with it live, on the same data set: the same version, compared with itself, and nothing to deploy.
    world.mlops.live = made["version"]
    again = world.run("dataset", *LATER, existing=registered["name"])
    assert again.success
    assert [each["version"] for each in world.mlops.versions] == [made["version"]] * 2
    assert len(world.mlops.deployments) == 1
    assert "+0.0000 against" in metadata(again, "evaluation")["against_live"]


def test_a_worse_model_stops_and_the_live_one_stays(world: LaundryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch, 1)
    assert world.run("dataset", *LATER, existing="first").success
    world.mlops.live = world.mlops.versions[0]["version"]
    original = model.teach

    def turned_round(*values: Any) -> dict[str, Any]:
        made = original(*values)
        for head in made["heads"].values():
            head.weights[:] *= -1
            object.__setattr__(head, "bias", -head.bias)
        return made

    monkeypatch.setattr(model, "teach", turned_round)
    result = world.run("dataset", *LATER, existing="first")
    assert not result.success
    failed = {check.check_name: check for check in result.get_asset_check_evaluations() if not check.passed}
    assert "not_worse_than_live" in failed
    assert "It may be worse than the live version" in (failed["not_worse_than_live"].description or "")
    assert (len(world.mlops.versions), len(world.mlops.deployments)) == (1, 1)
    assert not result.asset_materializations_for_node("laundry__bento")


# --- the data set


def grown(world: LaundryWorld) -> dg.ExecuteInProcessResult:
    return world.run("decisions", "dataset", partition_key=decisions.today())


def test_photos_of_erased_helpers_are_not_taught_again_and_their_copies_go(
    world: LaundryWorld, photos: Photos, data_dir: Path
) -> None:
    new = [p for p in chosen(data_dir / "laundry", "hanging", {"train": 40}) if p not in set(photos)][:6]
    world.decide(new)
    assert grown(world).success
    first = versions.read(world.store, world.mlops.datasets[-1]["name"])
    kept = [row for row in first.rows if row.source == "decision"]
    gone = new[0][1]
    world.erase(gone)
    world.mlops.through = 1
    assert grown(world).success
    second = versions.read(world.store, world.mlops.datasets[-1]["name"])
    erased = [row for row in kept if row.group == sifting.pseudonym(gone)]
    assert erased
    assert not [row for row in second.rows if row.group == sifting.pseudonym(gone)]
    assert [row for row in second.rows if row.source == "decision"] == [row for row in kept if row not in erased]
    assert not any(world.store.exists(versions.photo_key(row.sha256)) for row in erased)
    # The earlier version is still there, and reads without them.
    assert {row.sha256 for row, _ in versions.take_out(world.store, erased)} == set()


def test_what_was_made_of_erased_photos_goes_from_the_working_folder_at_the_next_run(
    world: LaundryWorld, photos: Photos, data_dir: Path
) -> None:
    new = [p for p in chosen(data_dir / "laundry", "hanging", {"train": 40}) if p not in set(photos)][:6]
    world.decide(new)
    assert grown(world).success
    first = versions.read(world.store, world.mlops.datasets[-1]["name"])
    assert world.run("label_noise", "training_set").success
    work = world.settings.data_work_dir
    decided = {row.sha256 for row in first.rows if row.source == "decision" and row.split != "test"}
    gone = {row.sha256 for row in first.rows if row.group == sifting.pseudonym(new[0][1])}
    assert gone < decided <= features(work)
    assert working.place(work, first.name).is_dir()

    world.erase(new[0][1])
    world.mlops.through = 1
    assert grown(world).success
    again = world.run("label_noise", "training_set")
    assert again.success
    (noise,) = again.asset_materializations_for_node("laundry__label_noise")
    assert noise.metadata["features_of_erased_photos_deleted"].value == len(gone)
    assert features(work) & decided == decided - gone, "and the others' are not made again"
    assert not working.place(work, first.name).exists(), "views of the erased photos were in it"


def test_a_run_that_goes_on_leaves_out_what_was_erased_meanwhile(
    world: LaundryWorld, photos: Photos, data_dir: Path
) -> None:
    new = [p for p in chosen(data_dir / "laundry", "hanging", {"train": 40}) if p not in set(photos)][:6]
    world.decide(new)
    assert grown(world).success
    version = versions.read(world.store, world.mlops.datasets[-1]["name"])
    assert world.run("label_noise", "training_set").success
    wanted = json.loads(world.store.get("dagster/values/laundry/training_set.json", sealed=True))
    rows = [row for row in version.rows if row.source == "decision"]
    before = training_set.prepared(world.store, wanted, world.settings, print)
    erased = next(row for row in rows if row in before.rows)
    place = before.places[before.rows.index(erased)]
    assert before.activations[place].any()
    world.store.delete(versions.photo_key(erased.sha256))
    assert world.run("training_set").success
    after = training_set.prepared(world.store, wanted, world.settings, print)
    assert after.rows == [row for row in before.rows if row != erased]
    assert not after.activations[place].any()
    assert erased.sha256 not in features(world.settings.data_work_dir)


def features(work: Path) -> set[str]:
    """Photos that features are kept of."""
    return {str(sha) for file in (work / "features").glob("*.npz") for sha in np.load(file)["sha"]}


def test_a_decision_that_contradicts_another_is_left_out_and_counted(world: LaundryWorld, photos: Photos) -> None:
    hanging = [photo for photo in photos if photo[2] == "hanging"][:4]
    world.decide([(path, helper, task, "flat" if state == "hung" else "hung") for path, helper, task, state in hanging])
    result = grown(world)
    assert result.success
    found = versions.read(world.store, world.mlops.datasets[-1]["name"])
    assert found.summary["left_out"]["contradictory"] == 4
    assert len(found.rows) == len(versions.read(world.store, "first").rows) - 4


def test_a_few_damaged_photos_are_left_out_and_many_stop_the_run(
    world: LaundryWorld, photos: Photos, data_dir: Path
) -> None:
    new = [p for p in chosen(data_dir / "laundry", "hanging", {"train": 40, "validation": 20}) if p not in set(photos)][
        :10
    ]
    ids = world.decide(new)
    world.store.put(f"tasks/{ids[0]}/0", b"no photo", sealed=True)
    world.store.put(f"tasks/{ids[1]}/0", b"not even sealed", sealed=False)
    world.store.delete(f"tasks/{ids[2]}/0")
    assert grown(world).success
    left_out = versions.read(world.store, world.mlops.datasets[-1]["name"]).summary["left_out"]
    assert (left_out["damaged"], left_out["missing"]) == (2, 1)
    before = len(world.mlops.datasets)
    for number in ids[3:8]:
        world.store.delete(f"tasks/{number}/0")
        world.store.delete(
            versions.photo_key(next(r.sha256 for r in decisions.kept(world.store) if r.task_id == number))
        )
    said = told(grown(world))
    assert "missing or damaged" in said
    assert any("가" <= letter <= "힣" for letter in said)
    assert len(world.mlops.datasets) == before


@pytest.mark.parametrize(
    ("keep", "message"), [("few", "20 photos of each"), ("one_class", "two states"), ("none", "no photos")]
)
def test_too_little_to_learn_from_says_what_is_lacking(
    world: LaundryWorld, photos: Photos, keep: str, message: str
) -> None:
    world.mlops.datasets.clear()
    hanging = [photo for photo in photos if photo[2] == "hanging"]
    world.decide({"few": hanging[:8], "one_class": [p for p in hanging if p[3] == "hung"], "none": []}[keep])
    said = told(grown(world))
    assert message in said
    assert world.mlops.datasets == []


def test_a_platform_that_is_away_is_asked_again_and_not_for_ever(
    world: LaundryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.01)
    world.mlops.trouble = ServiceUnavailable("platform", "ConnectionError")
    result = world.run("dataset")
    assert not result.success
    retries = [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert len(retries) == failures.MOST_RETRIES


def test_a_damaged_photo_of_the_data_set_stops_the_run_by_name(world: LaundryWorld) -> None:
    row = next(row for row in versions.read(world.store, "first").rows if row.split == "train")
    file = world.folder / "objects" / versions.photo_key(row.sha256)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    shutil.rmtree(world.folder / "work" / "features", ignore_errors=True)
    assert row.sha256[:12] in told(world.run("dataset", "label_noise", existing="first"))
    file.unlink()
    said = told(world.run("dataset", "label_noise", existing="first"))
    assert "gone from the object store" in said
    file.write_bytes(whole)
    assert world.run("dataset", "label_noise", existing="first").success


def test_a_model_store_that_is_gone_leaves_nothing_half_deployed(
    world: LaundryWorld, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch, 1)
    assert world.run("dataset", "label_noise", "training_set", "model", "evaluation", existing="first").success
    monkeypatch.setenv("SMARTFIT_MODELS_DIR", str(world.folder / "gone"))
    said = told(world.run("bento", "deployment"))
    assert "laundry__bento" in said
    assert "model store" in said
    assert world.mlops.versions == world.mlops.deployments == []
    assert world.store.list("models/laundry/") == [
        key for key in world.store.list("models/laundry/") if "drafts" in key
    ]
    monkeypatch.setenv("SMARTFIT_MODELS_DIR", str(models_dir))
    assert world.run("bento", "deployment").success
    assert len(world.mlops.deployments) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted by root")
def test_a_full_disk_says_so_and_a_rerun_works(world: LaundryWorld) -> None:
    small = world.folder / "work" / "laundry"
    small.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        said = told(world.run("dataset", "label_noise", "training_set", existing="first"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert "laundry__training_set" in said
    assert "The disk is full" in said
    assert world.run("training_set").success


# --- killed in the middle of teaching

TEACH = """
import json, sys
from pathlib import Path
from data_assets.laundry import model, photographs, training_set
from ml_bentos.laundry import tuning
from tests.laundry_world import made_world
world = made_world(Path(sys.argv[1]), Path(sys.argv[2]))
wanted = json.loads(sys.argv[3])
views = training_set.prepared(world.store, wanted, world.settings, lambda _: None)
model.LEAST_HELD = 40
plan = tuning.Plan(epochs=3, head_epochs=20, patience=9, steps=3)
made = model.teach(world.store, wanted, views, world.settings, lambda line: print(line, flush=True), plan)
print(json.dumps({"losses": made["history"].held_loss, "best": made["history"].best}), flush=True)
"""


def test_a_training_that_is_killed_goes_on_where_it_was(world: LaundryWorld, keys: Any) -> None:
    assert world.run("dataset", "label_noise", "training_set", existing="first").success
    wanted = json.loads(world.store.get("dagster/values/laundry/training_set.json", sealed=True))
    checkpoint = world.folder / "work" / "laundry" / "first" / "tuning.pt"
    checkpoint.unlink(missing_ok=True)
    command = [sys.executable, "-c", TEACH, str(world.folder), str(keys.keyring_file), json.dumps(wanted)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)

    first = start()
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("epoch 2:"):
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = start()
    out, _ = second.communicate(timeout=200)
    assert second.returncode == 0
    assert "going on with epoch" in out
    resumed = json.loads(out.splitlines()[-1])
    checkpoint.unlink()
    whole, _ = start().communicate(timeout=200)
    assert "going on" not in whole
    assert resumed == json.loads(whole.splitlines()[-1])


# --- what the line may read


def test_the_reader_reads_the_training_views_and_nothing_else(world: LaundryWorld, photos: Photos) -> None:
    world.decide(photos[:2])
    reader = world.reader
    assert isinstance(reader, Reader)
    assert len(list(reader.rows("helper", "SELECT task_id, photo_label FROM training_tasks"))) == 2
    for domain, table in (
        ("helper", "task"),
        ("helper", "photo"),
        ("helper", "posting"),
        ("auth", "member"),
        ("auth", "face_template"),
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            list(reader.rows(domain, f"SELECT * FROM {table}"))  # type: ignore[arg-type]
    for statement in (
        "INSERT INTO task (task_id) VALUES ('x') RETURNING task_id",
        "UPDATE photo SET label = 'done' RETURNING photo_id",
        "DELETE FROM training_tasks RETURNING task_id",
        "CREATE TABLE mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        # The role itself has no such right, whatever the connection says.
        "SET TRANSACTION READ WRITE; DELETE FROM task RETURNING task_id",
        "SET TRANSACTION READ WRITE; DELETE FROM training_tasks RETURNING task_id",
        "SET TRANSACTION READ WRITE; CREATE TABLE mine (x int)",
    ):
        with pytest.raises((ProgrammingError, InternalError)):
            list(reader.rows("helper", statement))
