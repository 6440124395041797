"""Trainings are runs of Dagster: asked for by the API, handed over, followed, cancelled, tried again, and a version at the end."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from platform_api.core.database import unit_of_work
from platform_api.core.http import ServiceUnavailable
from platform_api.mlops import dagster as client
from platform_api.mlops import following, judging
from platform_api.mlops.models import Version
from platform_api.mlops.settings import settings
from tests.dagster_world import RunningDagster, dagster

pytestmark = pytest.mark.timeout(240)
TRAININGS = "/models/laundry/trainings"


@pytest.fixture(scope="module")
def real_dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDagster]:
    # A unix socket's path is short.
    with dagster(tmp_path_factory.mktemp("dg")) as running:
        yield running


@pytest.fixture
def line(world: Any, real_dagster: RunningDagster, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningDagster]:
    """Dagster, named by the settings of the domain; what earlier tests ran is known already."""
    monkeypatch.setenv("SMARTFIT_DAGSTER_URL", real_dagster.url)
    for cached in (settings, client.dagster):
        cached.cache_clear()
    real_dagster.tell(hold=False, fail=False)
    (real_dagster.folder / "started").unlink(missing_ok=True)
    # Runs of the tests before are taken in, and ended, so that each test sees its own.
    following.follow()
    yield real_dagster
    for cached in (settings, client.dagster):
        cached.cache_clear()


@pytest.fixture
def named(world: Any) -> Callable[[], dict[str, Any]]:
    """Puts a data set into the store, as the learning side does, and registers it under a name of its own."""

    def make(name: str | None = None, **changes: Any) -> dict[str, Any]:
        name = name or f"set-{time.monotonic_ns()}"
        put(name, **changes)
        return dict(world.ok("POST", "/models/laundry/datasets", json={"name": name}))

    return make


def put(name: str, manifest: bytes = b"rows of a manifest", **changes: Any) -> str:
    """A data set in the store. Returns its digest."""
    digest = hashlib.sha256(manifest).hexdigest()
    summary = {
        "digest": digest, "photos": 72, "groups": 16, "counts": {"hanging": {"flat": 40, "hung": 32}},
        "done_states": {"hanging": "hung"}, **changes,
    }  # fmt: skip
    place = f"datasets/laundry/{name}"
    judging.store().put(f"{place}/manifest.parquet", manifest, sealed=True)
    judging.store().put(f"{place}/summary.json", json.dumps(summary).encode(), sealed=True)
    return digest


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Follow until something holds, as the worker does again and again."""
    end = time.monotonic() + seconds
    while True:
        following.follow()
        if found := condition():
            return found
        assert time.monotonic() < end
        time.sleep(0.1)


def ended(world: Any, training: dict[str, Any]) -> dict[str, Any]:
    """The training at its end."""
    path = f"/trainings/{training['training_id']}"
    return dict(until(lambda: (now := world.ok("GET", path))["finished_at"] and now))


def test_a_data_set_is_registered_once_it_is_whole(world: Any, named: Any) -> None:
    found = named("whole")
    assert (found["photos"], found["helpers"], found["done_states"]) == (72, 16, {"hanging": "hung"})
    assert found["digest"] == hashlib.sha256(b"rows of a manifest").hexdigest()
    assert world.ok("GET", f"/datasets/{found['dataset_id']}")["name"] == "whole"
    assert [row["dataset_id"] for row in world.ok("GET", "/models/laundry/datasets")["items"]] == [found["dataset_id"]]
    assert ("operator-1", "dataset.register") in world.audited()
    assert world.refused("POST", "/models/laundry/datasets", json={"name": "whole"}) == (409, "dataset_exists")
    assert world.refused("POST", "/models/laundry/datasets", json={"name": "nowhere"}) == (422, "dataset_missing")
    put("other-manifest", digest="0" * 64)
    put("negative", photos=-1)
    judging.store().put("datasets/laundry/torn/summary.json", b"{}", sealed=True)
    for name in ("other-manifest", "negative", "torn"):
        assert world.refused("POST", "/models/laundry/datasets", json={"name": name}) == (422, "dataset_missing")
    for name in ("../x", "", "A", "a/b", 5, "x" * 65):
        assert world.refused("POST", "/models/laundry/datasets", json={"name": name})[0] == 422
    assert world.refused("GET", "/datasets/nope") == (404, "dataset_not_found")


def test_a_training_goes_by_the_data_set_that_it_was_given(world: Any, line: RunningDagster, named: Any) -> None:
    given = named()
    line.tell(hold=True)
    answer = world.call("POST", TRAININGS, json={"dataset_id": given["dataset_id"]})
    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    assert answer.headers["Location"] == f"/mlops/v1/trainings/{answer.json['training_id']}"
    again = world.refused("POST", TRAININGS, json={"dataset_id": given["dataset_id"]})
    assert again == (409, "training_in_progress")
    path = f"/trainings/{answer.json['training_id']}"
    running = until(lambda: (now := world.ok("GET", path))["state"] == "running" and now["progress"] > 0.4 and now)
    assert running["run_url"] == f"/dagster/runs/{running['run_id']}"
    with unit_of_work("mlops") as session:
        session.add(
            Version(
                model="laundry", version="v9", run_id=running["run_id"], metrics={}, details={}, created_by="dagster"
            )
        )
    line.tell(hold=False)
    done = ended(world, answer.json)
    assert (done["state"], done["progress"], done["version"], done["error"]) == ("succeeded", 1.0, "v9", None)
    assert world.ok("GET", "/models/laundry/versions/v9")["training_id"] == done["training_id"]
    texts = [row["text"] for row in world.ok("GET", f"{path}/log?limit=100")["items"]]
    assert f"data set {given['name']}" in texts
    assert [text for text in texts if text.startswith("epoch")] == [f"epoch {n}" for n in range(20)]
    assert not any(text.startswith("days") for text in texts), "what is there already is not collected again"


def test_without_one_the_days_since_the_last_are_collected_anew(world: Any, line: RunningDagster) -> None:
    asked = world.ok("POST", TRAININGS, json={})
    assert world.refused("POST", TRAININGS, json={}) == (409, "training_in_progress")
    done = ended(world, asked)
    assert (done["state"], done["dataset_id"]) == ("succeeded", None)
    texts = [row["text"] for row in world.ok("GET", f"/trainings/{asked['training_id']}/log?limit=100")["items"]]
    assert any(text.startswith("days 20") for text in texts)
    assert "data set collected" in texts


def test_one_that_fails_says_why_in_the_words_of_the_asset(world: Any, line: RunningDagster) -> None:
    line.tell(fail=True)
    done = ended(world, world.ok("POST", TRAININGS, json={}))
    assert done["state"] == "failed"
    assert "라벨이 모순됩니다. (the labels contradict each other)" in done["error"]
    assert done["version"] is None
    (told,) = world.published("mlops.ModelHeldBack")
    assert told["data"]["reason"] == done["error"], "operators are told why"


def test_a_training_is_cancelled_before_and_after_it_was_handed_over(world: Any, line: RunningDagster) -> None:
    waiting = world.ok("POST", TRAININGS, json={})
    assert world.ok("POST", f"/trainings/{waiting['training_id']}/cancel")["state"] == "cancelled"
    line.tell(hold=True)
    running = world.ok("POST", TRAININGS, json={})
    path = f"/trainings/{running['training_id']}"
    until(lambda: (line.folder / "started").exists())
    assert world.ok("POST", f"{path}/cancel")["state"] == "cancelling"
    assert ended(world, running)["state"] == "cancelled"
    assert world.refused("POST", f"{path}/cancel") == (409, "already_finished")
    assert world.audited().count(("operator-1", "training.cancel")) == 2


def test_a_run_that_was_killed_is_tried_again_and_the_training_goes_on_with_it(
    world: Any, line: RunningDagster
) -> None:
    line.tell(hold=True)
    asked = world.ok("POST", TRAININGS, json={})
    until(lambda: (line.folder / "started").exists())
    first = world.ok("GET", f"/trainings/{asked['training_id']}")["run_id"]
    os.kill(line.started(), signal.SIGKILL)
    until(lambda: (line.folder / "started").exists(), 120)
    line.tell(hold=False)
    done = ended(world, asked)
    assert done["state"] == "succeeded", done
    assert done["run_id"] != first


def test_a_worker_that_dies_after_handing_over_finds_the_run_again(world: Any, line: RunningDagster) -> None:
    line.tell(hold=True)
    asked = world.ok("POST", TRAININGS, json={})
    server = client.dagster()
    assert server is not None
    # Handed over, and then nothing was written down.
    run_id = server.launch("laundry", asked["training_id"], None, ("2026-01-01", "2026-01-02"), {})
    until(lambda: world.ok("GET", f"/trainings/{asked['training_id']}")["run_id"])
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["run_id"] == run_id
    line.tell(hold=False)
    assert ended(world, asked)["state"] == "succeeded"


def test_what_dagster_starts_by_itself_is_a_training_as_well(world: Any, line: RunningDagster) -> None:
    known = {row["run_id"] for row in world.ok("GET", "/trainings?limit=100")["items"]}
    query = """mutation { launchRun(executionParams: {selector: {repositoryLocationName: "smartfit",
        repositoryName: "__repository__", jobName: "laundry_line", assetSelection: [{path: ["laundry", "dataset"]}]},
        runConfigData: {}, executionMetadata: {tags: [{key: "smartfit/line", value: "laundry"}]}}) {
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    made = requests.post(f"{line.url}/graphql", json={"query": query}, timeout=20).json()["data"]["launchRun"]["run"]
    (row,) = until(lambda: [r for r in world.ok("GET", "/trainings?limit=100")["items"] if r["run_id"] not in known])
    assert (row["run_id"], row["requested_by"]) == (made["runId"], "dagster")
    assert ended(world, row)["state"] == "succeeded"


def test_while_dagster_is_away_requests_wait(world: Any, line: RunningDagster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_DAGSTER_URL", "http://127.0.0.1:9/dagster")
    for cached in (settings, client.dagster):
        cached.cache_clear()
    asked = world.ok("POST", TRAININGS, json={})
    with pytest.raises(ServiceUnavailable):
        following.follow()
    assert world.ok("GET", f"/trainings/{asked['training_id']}")["state"] == "queued"
    monkeypatch.setenv("SMARTFIT_DAGSTER_URL", line.url)
    for cached in (settings, client.dagster):
        cached.cache_clear()
    assert ended(world, asked)["state"] == "succeeded"


def test_what_makes_no_sense_is_refused(world: Any, line: RunningDagster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.refused("POST", TRAININGS, json={"dataset_id": "nope"}) == (404, "dataset_not_found")
    assert world.refused("POST", TRAININGS, json={"epochs": 3})[0] == 422
    assert world.refused("POST", "/models/horoscope/trainings", json={}) == (404, "model_not_found")
    assert world.refused("GET", "/trainings/nope") == (404, "training_not_found")
    assert world.refused("GET", "/trainings/nope/log") == (404, "training_not_found")
    assert world.refused("POST", "/trainings/nope/cancel") == (404, "training_not_found")
    assert world.refused("GET", "/trainings?model=horoscope") == (404, "model_not_found")
    monkeypatch.delenv("SMARTFIT_DAGSTER_URL")
    for cached in (settings, client.dagster):
        cached.cache_clear()
    assert world.refused("POST", TRAININGS, json={}) == (503, "dagster_not_set")
