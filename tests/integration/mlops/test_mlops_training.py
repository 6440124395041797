"""Data sets and trainings: brought in, started, followed, cancelled, ended, and a version at the end."""

import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ml_bentos.laundry import dataset
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.mlops import bootstrap, dataset_store, judging, supervision
from platform_api.mlops.models import Training
from platform_api.mlops.runner import SubprocessRunner
from platform_api.mlops.settings import settings


class Scripts(SubprocessRunner):
    """Runs a line of shell in place of a training."""

    script = "sleep 60"

    def command(self, folder: Path, model: str, dataset: str) -> list[str]:
        return ["/bin/sh", "-c", self.script]


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """What runs the trainings of this test."""
    made = Scripts(tmp_path)
    monkeypatch.setattr(supervision, "runner", lambda: made)
    return made


@pytest.fixture
def named(world: Any, folders: list[Path]) -> Callable[[], dict[str, Any]]:
    """Brings in a data set of a name of its own."""

    def make() -> dict[str, Any]:
        return dict(world.dataset(folders[2], f"set-{time.monotonic_ns()}"))

    return make


def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Supervise until something holds, as the worker does again and again."""
    end = time.monotonic() + seconds
    while True:
        supervision.supervise()
        if condition():
            return
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_data_set_is_brought_in_sealed(world: Any, folders: list[Path], named: Any) -> None:
    data = dataset.read(folders[2])
    found = named()
    assert (found["photos"], found["digest"], found["helpers"]) == (len(data.photos), data.digest, 16)
    assert found["counts"] == {"hanging": {"flat": 40, "hung": 32}}
    assert found["done_states"] == {"hanging": "hung"}
    lying = list((world.objects / "datasets" / "laundry" / found["name"]).rglob("*"))
    assert sum(path.is_file() for path in lying) == len(data.photos) + 1
    assert not any(path.read_bytes().startswith(b"\xff\xd8") for path in lying if path.is_file())
    assert world.ok("GET", f"/datasets/{found['dataset_id']}")["name"] == found["name"]
    assert [row["dataset_id"] for row in world.ok("GET", "/models/laundry/datasets")["items"]] == [found["dataset_id"]]
    assert ("operator-1", "dataset.register") in world.audited()


def test_a_data_set_that_is_not_whole_is_refused(world: Any, named: Any) -> None:
    found = named()
    assert world.refused("POST", "/models/laundry/datasets", json={"name": found["name"]}) == (409, "dataset_exists")
    assert world.refused("POST", "/models/laundry/datasets", json={"name": "nowhere"}) == (422, "dataset_missing")
    assert world.refused("POST", "/models/face/datasets", json={"name": "x"}) == (422, "not_trainable")
    judging.store().put("datasets/laundry/torn/manifest.json", b'{"photos": [], "done": {}}', sealed=True)
    assert world.refused("POST", "/models/laundry/datasets", json={"name": "torn"}) == (422, "dataset_missing")
    for name in ("../x", "", "A", "a/b", 5, "x" * 65):
        assert world.refused("POST", "/models/laundry/datasets", json={"name": name})[0] == 422
    assert world.refused("GET", "/datasets/nope") == (404, "dataset_not_found")


def test_photos_are_checked_when_they_are_taken_out(world: Any, folders: list[Path], tmp_path: Path) -> None:
    store, data = judging.store(), dataset.read(folders[2])
    dataset_store.put(store, "laundry", f"taken-{tmp_path.name}", data)
    told: list[tuple[int, int]] = []
    dataset_store.take_out(
        store, "laundry", f"taken-{tmp_path.name}", tmp_path / "out", lambda n, of: told.append((n, of))
    )
    assert dataset.read(tmp_path / "out").digest == data.digest
    assert told[-1] == (72, 72)
    with pytest.raises(FileExistsError):
        dataset_store.put(store, "laundry", f"taken-{tmp_path.name}", data)
    key = f"datasets/laundry/taken-{tmp_path.name}/photos/{data.photos[0].sha256}"
    store.put(key, b"another photo", sealed=True)
    with pytest.raises(dataset_store.DatasetMissing, match="not the one"):
        dataset_store.take_out(store, "laundry", f"taken-{tmp_path.name}", tmp_path / "again", lambda *_: None)


def test_a_training_makes_a_version(world: Any, versions: list[str], models_dir: Path, folders: list[Path]) -> None:
    found = world.dataset(folders[2], "to-be-learnt")
    answer = world.call("POST", "/models/laundry/trainings", json={})
    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    where = answer.headers["Location"]
    assert where == f"/mlops/v1/trainings/{answer.json['training_id']}"
    assert world.refused("POST", "/models/laundry/trainings", json={}) == (409, "training_in_progress")

    def look() -> dict[str, Any]:
        return dict(world.client.get(where, headers=world.operator).json)

    until(lambda: look()["finished_at"] is not None)
    ended = look()
    assert (ended["state"], ended["progress"], ended["error"]) == ("succeeded", 1.0, None), ended
    version = world.ok("GET", f"/models/laundry/versions/{ended['version']}")
    assert (version["dataset"], version["training_id"]) == (found["digest"], ended["training_id"])
    assert version["metrics"]["accuracy"] > 0.9
    (told,) = world.published("mlops.ModelTrained")
    assert (told["data"]["version"], told["data"]["by"]) == (ended["version"], "operator-1")
    log = world.ok("GET", f"/trainings/{ended['training_id']}/log")["items"]
    assert [line["number"] for line in log] == list(range(1, len(log) + 1))
    assert any("features 72/72" in line["text"] for line in log)
    assert not (models_dir / "training" / "runs" / ended["training_id"]).exists(), "no photo is left behind"
    assert world.ok("GET", "/models/laundry")["live_version"] is None, "trained is not deployed"
    assert world.deploy(ended["version"])["state"] == "live"


def test_a_training_is_cancelled_while_it_waits_and_while_it_runs(world: Any, scripts: Scripts, named: Any) -> None:
    running, waiting = (
        world.ok("POST", "/models/laundry/trainings", json={"dataset_id": named()["dataset_id"]}) for _ in range(2)
    )
    scripts.script = "echo up; trap 'exit 3' TERM; while true; do sleep 0.1; done"
    until(lambda: world.ok("GET", f"/trainings/{running['training_id']}/log")["items"] != [])
    assert world.ok("GET", f"/trainings/{waiting['training_id']}")["state"] == "queued", "one at a time"
    assert world.ok("POST", f"/trainings/{waiting['training_id']}/cancel")["state"] == "cancelled"
    assert world.ok("POST", f"/trainings/{running['training_id']}/cancel")["state"] == "cancelling"
    assert world.ok("POST", f"/trainings/{running['training_id']}/cancel")["state"] == "cancelling"
    until(lambda: world.ok("GET", f"/trainings/{running['training_id']}")["state"] == "cancelled")
    assert world.refused("POST", f"/trainings/{running['training_id']}/cancel") == (409, "already_finished")
    assert world.audited().count(("operator-1", "training.cancel")) == 2
    assert [row["state"] for row in world.ok("GET", "/trainings?state=cancelled")["items"]] == ["cancelled"] * 2


def test_one_that_will_not_stop_is_killed(
    world: Any, scripts: Scripts, named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTFIT_MLOPS_TRAINING_GRACE_S", "0.2")
    settings.cache_clear()
    named()
    scripts.script = "trap '' TERM; echo up; while true; do sleep 0.1; done"
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}/log")["items"] != [])
    world.ok("POST", f"/trainings/{asked['training_id']}/cancel")
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "cancelled")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ('echo \'{"error": "no task has enough photos"}\'; exit 1', "no task has enough photos"),
        ("echo half a li; kill -9 $$", "without a result"),
        ('echo \'{"version": "lite0-never-packed"}\'', "no such version"),
        ("exec /nonexistent", "without a result"),
    ],
)
def test_a_training_that_fails_says_why(world: Any, scripts: Scripts, named: Any, script: str, error: str) -> None:
    named()
    scripts.script = script
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["finished_at"] is not None)
    ended = world.ok("GET", f"/trainings/{asked['training_id']}")
    assert ended["state"] == "failed"
    assert error in ended["error"]
    assert world.published("mlops.ModelTrained") == []


def test_a_log_has_its_bounds(world: Any, scripts: Scripts, named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_MLOPS_TRAINING_LOG_LINES", "10")
    settings.cache_clear()
    named()
    scripts.script = (
        "printf 'a\\000b\\n'; for i in $(seq 50); do echo line $i; done; echo '{\"error\": \"in the end\"}'; exit 1"
    )
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["finished_at"] is not None)
    log = world.ok("GET", f"/trainings/{asked['training_id']}/log?limit=4")
    assert [line["text"] for line in log["items"]] == ["ab", "line 1", "line 2", "line 3"]
    rest = world.ok("GET", f"/trainings/{asked['training_id']}/log?cursor={log['next_cursor']}")
    assert len(rest["items"]) == 6
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["error"] == "in the end"


def test_the_next_worker_goes_on_with_what_runs(
    world: Any, scripts: Scripts, named: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named()
    scripts.script = 'echo up; while [ ! -e go ]; do sleep 0.05; done; echo \'{"error": "seen to the end"}\''
    monkeypatch.chdir(tmp_path)
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}/log")["items"] != [])
    fresh = Scripts(tmp_path)  # knows nothing but the folder
    monkeypatch.setattr(supervision, "runner", lambda: fresh)
    supervision.supervise()
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "running"
    (tmp_path / "go").touch()
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "failed")
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["error"] == "seen to the end"


def test_one_whose_host_is_gone_is_given_up(world: Any, scripts: Scripts, named: Any) -> None:
    named()
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    with unit_of_work("mlops") as session:
        training = session.get_one(Training, asked["training_id"])
        training.state, training.host, training.heartbeat_at = "running", "gone-" + socket.gethostname(), clock.now()
    supervision.supervise()
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "running"
    with clock.travel(timedelta(minutes=3)):
        supervision.supervise()
    ended = world.ok("GET", f"/trainings/{asked['training_id']}")
    assert (ended["state"], "is gone" in ended["error"]) == ("failed", True)


def test_one_that_takes_too_long_is_ended(world: Any, scripts: Scripts, named: Any) -> None:
    named()
    scripts.script = "echo up; exec sleep 60"
    asked = world.ok("POST", "/models/laundry/trainings", json={})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}/log")["items"] != [])
    with clock.travel(timedelta(hours=7)):
        until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "failed")
    assert "hours" in world.ok("GET", f"/trainings/{asked['training_id']}")["error"]


def test_what_makes_no_sense_is_refused(world: Any) -> None:
    assert world.refused("POST", "/models/laundry/trainings", json={}) == (422, "no_dataset")
    assert world.refused("POST", "/models/laundry/trainings", json={"dataset_id": "nope"}) == (404, "dataset_not_found")
    assert world.refused("POST", "/models/face/trainings", json={}) == (422, "not_trainable")
    assert world.refused("POST", "/models/laundry/trainings", json={"epochs": 3})[0] == 422
    assert world.refused("GET", "/trainings/nope") == (404, "training_not_found")
    assert world.refused("GET", "/trainings/nope/log") == (404, "training_not_found")
    assert world.refused("POST", "/trainings/nope/cancel") == (404, "training_not_found")
    assert world.refused("GET", "/trainings?model=horoscope") == (404, "model_not_found")


def test_a_folder_is_imported_from_the_command_line(world: Any, folders: list[Path], tmp_path: Path) -> None:
    command = CliRunner()
    arguments = ["--dataset", str(folders[2]), "--name", f"cli-{tmp_path.name.replace('_', '-')[:30].lower()}"]
    done = command.invoke(bootstrap.main, arguments)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("dataset ")
    again = command.invoke(bootstrap.main, arguments)
    assert (again.exit_code, "Traceback" in again.output) == (1, False)
    empty = command.invoke(bootstrap.main, ["--dataset", str(tmp_path)])
    assert (empty.exit_code, "labels.csv" in empty.output) == (1, True)
