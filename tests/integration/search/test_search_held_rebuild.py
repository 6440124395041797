"""A new index is tried before it serves: built, asked, accepted or rejected; through crashes, and not for ever."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.search import rebuilds
from platform_api.search.engines import Engine
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from platform_api.search.models import Rebuild
from platform_api.search.settings import settings
from tests.search_world import branch, branch_data, deliver
from tests.waiting import wait_for as until

PATH = "/search/internal/v1/rebuilds"


class Running:
    """An indexer that runs, and may be ended and started again."""

    def __init__(self) -> None:
        self.indexer: Indexer | None = None
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        self.indexer = Indexer(engine())
        self.thread = threading.Thread(target=self.indexer.run)
        self.thread.start()

    def stop(self) -> None:
        if self.indexer is not None and self.thread is not None:
            self.indexer.stopping.set()
            self.thread.join()
            self.indexer = None


@pytest.fixture(params=["tantivy", "elasticsearch"])
def chosen(
    request: pytest.FixtureRequest, application: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """The application with either engine."""
    if request.param == "tantivy":
        yield application
        return
    server = request.getfixturevalue("elasticsearch_server")
    prefix = f"h{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("SMARTFIT_SEARCH_ENGINE", "elasticsearch")
    monkeypatch.setenv("SMARTFIT_SEARCH_ELASTICSEARCH_URL", server.url)
    monkeypatch.setenv("SMARTFIT_SEARCH_ELASTICSEARCH_PREFIX", prefix)
    monkeypatch.setenv("SMARTFIT_SEARCH_ELASTICSEARCH_REPLICAS", "0")
    settings.cache_clear()
    engine.cache_clear()
    yield application
    client = server.client()
    for name in client.indices.get(index=f"{prefix}*"):
        client.indices.delete(index=name)
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def running(chosen: Flask) -> Iterator[Running]:
    made = Running()
    made.start()
    yield made
    made.stop()


class Caller:
    """The data side."""

    def __init__(self, client: FlaskClient, headers: dict[str, str]) -> None:
        self.client, self.headers = client, headers

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(PATH + path, json=body if body is not None else {}, headers=self.headers)

    def state(self, rebuild_id: str) -> Any:
        return self.client.get(f"{PATH}/{rebuild_id}", headers=self.headers).json

    def hold(self) -> str:
        """A new index that is held."""

        def held() -> Any:
            # The indexer fills an index that it found empty by a rebuild of its own, which comes first.
            answer = self.post("", {"hold": True})
            assert answer.status_code == 202, answer.text
            return answer.json["rebuild_id"] if answer.json["hold"] else None

        rebuild_id = str(until(held))
        until(lambda: self.state(rebuild_id)["state"] == "built")
        return rebuild_id

    def asked(self, rebuild_id: str, *queries: str) -> Any:
        answer = self.post(f"/{rebuild_id}/queries", {"queries": list(queries)})
        assert answer.status_code == 200, answer.text
        return answer.json


@pytest.fixture
def caller(chosen: Flask, token_for: Callable[..., dict[str, str]]) -> Caller:
    return Caller(chosen.test_client(), token_for("dagster", "service"))


def names(of: Engine) -> set[str]:
    return {name for name in ("gangnam", "hongdae", "late") if of.get(name)}


def test_a_held_index_is_asked_and_serves_once_it_is_accepted(caller: Caller, running: Running) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    state = caller.state(rebuild_id)
    assert (state["documents"], state["hold"]) == (1, True)
    assert state["held_until"]
    found = caller.asked(rebuild_id, "강남", "스마트피트니스 강남점", "없는말")
    assert found["documents"] == 1
    assert found["results"][0]["hits"][0]["branch_id"] == "gangnam"
    assert found["results"][1]["hits"][0]["name"] == "스마트피트니스 강남점"
    # What changes meanwhile is in both.
    branch("late", name="나중 지점")
    until(lambda: engine().count() == 2)
    until(lambda: caller.asked(rebuild_id, "나중")["documents"] == 2)
    deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", status="closed"))
    until(lambda: names(engine()) == {"late"})
    assert caller.post(f"/{rebuild_id}/acceptance").status_code == 202
    until(lambda: caller.state(rebuild_id)["state"] == "done")
    assert caller.state(rebuild_id)["documents"] == 1
    assert names(engine()) == {"late"}
    assert caller.post(f"/{rebuild_id}/acceptance").json["state"] == "done"
    assert caller.post(f"/{rebuild_id}/rejection", {"reason": "late"}).status_code == 409
    branch("hongdae", name="홍대점")
    until(lambda: names(engine()) == {"late", "hongdae"})


def test_a_rejected_one_is_gone_and_the_old_one_serves(caller: Caller, running: Running) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    assert caller.post(f"/{rebuild_id}/rejection", {"reason": "too few documents"}).status_code == 202
    until(lambda: caller.state(rebuild_id)["state"] == "rejected")
    assert caller.state(rebuild_id)["error"] == "too few documents"
    assert names(engine()) == {"gangnam"}
    answer = caller.post(f"/{rebuild_id}/queries", {"queries": ["강남"]})
    assert (answer.status_code, answer.json["code"]) == (409, "not_held")
    assert caller.post(f"/{rebuild_id}/acceptance").status_code == 409
    # There is room for the next one.
    assert caller.hold() != rebuild_id


def test_nobody_holds_an_index_for_ever(caller: Caller, running: Running) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    with unit_of_work("search") as session:
        session.execute(update(Rebuild).values(held_until=clock.now() - timedelta(seconds=1)))
    until(lambda: caller.state(rebuild_id)["state"] == "rejected")
    assert caller.state(rebuild_id)["error"] == "nobody accepted it in time"
    assert names(engine()) == {"gangnam"}


def test_the_next_indexer_goes_on_with_what_was_held(caller: Caller, running: Running) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    running.stop()
    branch("late", name="나중 지점")
    running.start()
    until(lambda: names(engine()) == {"gangnam", "late"})
    until(lambda: caller.asked(rebuild_id, "나중")["documents"] == 2)
    caller.post(f"/{rebuild_id}/acceptance")
    until(lambda: caller.state(rebuild_id)["state"] == "done")
    assert names(engine()) == {"gangnam", "late"}


@pytest.mark.parametrize("moment", ["before the swap", "after the swap"])
def test_a_crash_around_the_swap(caller: Caller, running: Running, moment: str) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    running.stop()
    if moment == "after the swap":
        with unit_of_work("search") as session:
            index_name = session.get_one(Rebuild, rebuild_id).index_name
        with engine().writer() as writer:
            assert writer.resume(index_name)
            writer.swap()
    assert caller.post(f"/{rebuild_id}/acceptance").status_code == 202
    running.start()
    until(lambda: caller.state(rebuild_id)["state"] == "done")
    assert names(engine()) == {"gangnam"}
    branch("late", name="나중 지점")
    until(lambda: names(engine()) == {"gangnam", "late"})


def test_a_held_index_that_is_lost_is_told(caller: Caller, running: Running) -> None:
    branch("gangnam")
    until(lambda: engine().count() == 1)
    rebuild_id = caller.hold()
    running.stop()
    with engine().writer() as writer:
        writer.resume(None)
    running.start()
    until(lambda: caller.state(rebuild_id)["state"] == "failed")
    assert "gone" in caller.state(rebuild_id)["error"]
    assert names(engine()) == {"gangnam"}


@pytest.fixture
def start(chosen: Flask, unused_port: int) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    """Starts the indexer as a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def begin() -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "SMARTFIT_SEARCH_INDEXER_PORT": str(unused_port), "SMARTFIT_LOG_LEVEL": "WARNING"}
        started.append(subprocess.Popen([sys.executable, "-m", "platform_api.search.indexer"], env=environment))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def nothing_is_built() -> bool:
    with unit_of_work("search") as session:
        return rebuilds.unfinished(session) is None


@pytest.mark.faults
@pytest.mark.parametrize("chosen", ["tantivy"], indirect=True)  # a cluster's lease outlives the killed writer: a minute
def test_an_indexer_killed_with_an_index_on_its_way_leaves_the_old_one_serving(
    caller: Caller, start: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    branch("gangnam")
    process = start()
    until(lambda: engine().count() == 1, 60)
    until(nothing_is_built)

    def served() -> set[str]:
        found = caller.client.get("/search/v1/branches").json
        return {item["branch_id"] for item in found["items"]}

    # Killed in the middle of building: it has said that it builds, and does not get at the branches.
    with database("search").connect() as connection:
        connection.execute(text("LOCK TABLE branch IN ACCESS EXCLUSIVE MODE"))
        rebuild_id = caller.post("", {"hold": True}).json["rebuild_id"]
        until(lambda: caller.state(rebuild_id)["state"] == "running")
        process.kill()
        process.wait()
    assert served() == {"gangnam"}

    # Killed while it holds the new one.
    process = start()
    until(lambda: caller.state(rebuild_id)["state"] == "built", 60)
    process.kill()
    process.wait()
    branch("late", name="나중 지점")
    assert (served(), caller.state(rebuild_id)["state"]) == ({"gangnam"}, "built")
    assert caller.asked(rebuild_id, "강남")["documents"] == 1

    # The line that is run again is given the same one, which is in step by then, and lets it serve.
    start()
    until(lambda: served() == {"gangnam", "late"}, 60)
    assert caller.post("", {"hold": True}).json["rebuild_id"] == rebuild_id
    until(lambda: caller.asked(rebuild_id, "나중")["documents"] == 2)
    caller.post(f"/{rebuild_id}/acceptance")
    until(lambda: caller.state(rebuild_id)["state"] == "done")
    assert (served(), caller.state(rebuild_id)["documents"]) == ({"gangnam", "late"}, 2)
    branch("hongdae", name="홍대점")
    until(lambda: served() == {"gangnam", "late", "hongdae"})


def test_one_rebuild_at_a_time_whoever_asks(caller: Caller, token_for: Any) -> None:
    first = caller.post("", {"hold": True}).json
    again = caller.client.post("/search/v1/index/rebuilds", headers=token_for("op", "operator")).json
    assert again["rebuild_id"] == first["rebuild_id"]
    assert again["hold"] is True
