"""The worker killed by SIGKILL while it brings a version to serve: the next one goes on, and nothing was half done.

Where the worker is to read an object there stands a named pipe, so that it is killed in the middle of that and nowhere else.
"""

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from infra.local.postgres import free_port
from ml_bentos import registry
from ml_bentos.laundry import package
from platform_api.core.database import database, unit_of_work
from platform_api.core.events import publish
from tests.integration.mlops.conftest import lay, taught
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
QUICK = {"SHADOW_MIN_SAMPLES": "3", "SHADOW_MAX_LATENCY_RATIO": "1000", "WATCH_MINUTES": "0"}

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(trusted: Path, empty_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the process that carries deployments out, of mlops and of helper, whose tasks it hears of."""
    empty_database("helper")
    for name, value in {**QUICK, "DOMAINS": "helper,mlops", "LOG_LEVEL": "WARNING"}.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    started: list[subprocess.Popen[bytes]] = []
    with (tmp_path / "worker.log").open("ab") as told:

        def begin() -> "subprocess.Popen[bytes]":
            port = free_port()
            command = [sys.executable, "-m", "platform_api.worker"]
            environment = {**os.environ, "SMARTFIT_WORKER_PORT": str(port)}
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=told, stderr=told)
            started.append(process)

            def ready() -> bool:
                assert process.poll() is None, (tmp_path / "worker.log").read_text()
                try:
                    return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
                except requests.RequestException:
                    return False

            wait_for(ready, 60, "the worker")
            return process

        yield begin
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def stuck(*places: Path) -> Iterator[None]:
    """Whoever reads one of these objects comes no further than that; afterwards all is as it was."""
    for place in places:
        place.rename(place.with_name(f"{place.name}.away"))
        os.mkfifo(place)
    try:
        yield
    finally:
        for place in places:
            place.with_name(f"{place.name}.away").replace(place)


@contextmanager
def nobody_scores() -> Iterator[None]:
    """The job that lets the version on trial look at photos is taken by another worker, as it were."""
    key = {"key": zlib.crc32(b"job mlops score_shadows")}
    with database("mlops").connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
            connection.commit()


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def hand_in(world: Any, count: int) -> list[dict[str, Any]]:
    """Tasks, told by helper."""
    tasks = [world.task(taught("hung", number)) for number in range(count)]
    with unit_of_work("helper") as session:
        for task in tasks:
            publish(session, "helper.TaskSubmitted", task["task_id"], 1, task)
    return tasks


def verdicts(world: Any) -> list[tuple[str, str, str]]:
    """Each task's verdict, and whose."""
    return [tuple(row) for row in world.rows("SELECT task_id, verdict, model_version FROM judgement ORDER BY task_id")]


@pytest.mark.faults
def test_the_next_worker_goes_on_where_one_was_killed(
    world: Any, versions: list[str], archive: bytes, elsewhere: None, trusted: Path, start: Start
) -> None:
    world.deploy(versions[0])
    lay(versions[1], archive)
    registered = world.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    shutil.rmtree(trusted)  # registered on one machine, carried out on another
    asked = world.ok("POST", "/models/laundry/deployments", json={"version": versions[1], "stages": ["shadow"]})

    def shown() -> dict[str, Any]:
        return dict(world.ok("GET", f"/deployments/{asked['deployment_id']}"))

    def come_to(state: str) -> None:
        wait_for(lambda: shown()["state"] == state, 30, state)

    def serves(version: str) -> None:
        assert world.ok("GET", "/models/laundry")["live_version"] == version == registry.live_version("laundry")

    with stuck(world.objects / registered["archive_key"]):
        process = start()
        come_to("preparing")
        kill(process)
    assert (shown()["state"], shown()["prepare_ms"]) == ("preparing", None)
    assert not trusted.exists(), "nothing of a package is there before all of it is"
    serves(versions[0])

    process = start()
    come_to("shadow")
    assert (trusted / package.NAME / versions[1] / registry.MANIFEST).is_file()
    free = "SELECT task_id FROM shadow_score WHERE scored_at IS NULL FOR UPDATE SKIP LOCKED"
    with ExitStack() as place:
        with nobody_scores():
            first = hand_in(world, 3)
            wait_for(lambda: len(verdicts(world)) == 3, 30, "verdicts")
            photos = [world.objects / photo["object_key"] for task in first for photo in task["photos"]]
            place.enter_context(stuck(*photos))
        wait_for(lambda: len(world.rows(free)) == 2, 30, "a score under way")
        kill(process)
    assert (shown()["state"], shown()["figures"]["samples"]) == ("shadow", 0)
    assert len(world.rows(free)) == 3, "what it had in hand is free again"
    serves(versions[0])

    later = hand_in(world, 1)
    start()
    come_to("live")
    serves(versions[1])
    last = hand_in(world, 1)
    wait_for(lambda: len(verdicts(world)) == 5, 30, "verdicts")
    by = {task_id: version for task_id, verdict, version in verdicts(world) if verdict == "done"}
    assert [by[task["task_id"]] for task in first] == [versions[0]] * 3
    assert by[last[0]["task_id"]] == versions[1]
    assert by[later[0]["task_id"]] in versions
    assert sorted(each["subject"] for each in world.published("mlops.TaskJudged")) == sorted(by), "each told once"
    assert [step["state"] for step in shown()["steps"]] == ["requested", "preparing", "shadow", "live"]
    assert [each["data"]["version"] for each in world.published("mlops.ModelDeployed")] == versions
    assert [each["data"]["stage"] for each in world.published("mlops.ModelStaged")][-2:] == ["candidate", "shadow"]
    assert world.published("mlops.ModelHeldBack") == []
