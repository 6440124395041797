"""The index follows what happens: within a second, by one process, through crashes; rebuilds beside it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from platform_api.core.database import unit_of_work
from platform_api.search.engines import DocumentRefused, EngineUnavailable
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from platform_api.search.models import Pending, Rebuild
from platform_api.search.tokens import analyzer
from tests.search_world import branch, branch_data, deliver, visit


def names(client: FlaskClient, q: str = "") -> list[str]:
    """Names of what is found."""
    return [item["name"] for item in client.get("/search/v1/branches", query_string={"q": q}).json["items"]]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def nothing_waits() -> bool:
    """Whether no branch is marked; the marks go right after the index has been written."""
    with unit_of_work("search") as session:
        return not session.scalars(select(Pending)).all()


@pytest.fixture
def indexer(application: Flask) -> Iterator[Indexer]:
    """A running indexer."""
    analyzer()
    made = Indexer(engine())
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stopping.set()
    thread.join()


def test_a_branch_is_found_as_soon_as_it_is_heard_of(client: FlaskClient, indexer: Indexer) -> None:
    branch("gangnam")
    until(lambda: names(client) == ["스마트피트니스 강남점"])
    deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", name="새 이름"))
    until(lambda: names(client) == ["새 이름"])
    deliver("branch.BranchInfoChanged", "gangnam", 3, branch_data("gangnam", status="closed"))
    until(lambda: names(client) == [])
    until(nothing_waits)


def test_a_review_moves_the_rating(client: FlaskClient, indexer: Indexer, token_for: Any) -> None:
    branch("gangnam")
    member = str(uuid.uuid4())
    visit(member, "gangnam")
    headers = token_for(member, "customer")
    body = {"rating": 4, "text": "조용해요"}
    review = client.post("/search/v1/branches/gangnam/reviews", json=body, headers=headers).json
    until(lambda: client.get("/search/v1/branches/gangnam").json.get("rating") == 4.0)
    client.delete(f"/search/v1/reviews/{review['review_id']}", headers=headers)
    until(lambda: client.get("/search/v1/branches/gangnam").json["reviews"] == 0)


def test_what_was_marked_while_no_indexer_ran_is_done_by_the_next(client: FlaskClient) -> None:
    branch("gangnam")
    with engine().writer() as writer:
        writer.apply([], [])
    made = Indexer(engine())
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: names(client) == ["스마트피트니스 강남점"])
    made.stopping.set()
    thread.join()


def test_a_change_made_while_it_is_indexed_is_not_lost(application: Flask) -> None:
    branch("gangnam")

    class Slow:
        """A writer during whose work the branch changes again."""

        def __init__(self) -> None:
            self.applied: list[list[str]] = []

        def apply(self, put: Any, delete: Any = ()) -> None:
            if not self.applied:
                deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", name="둘째"))
            self.applied.append([document.source["name"] for document in put])

    writer: Any = Slow()
    made = Indexer(engine())
    assert made.drain(writer) == 1
    assert made.drain(writer) == 1
    assert made.drain(writer) == 0
    assert writer.applied == [["스마트피트니스 강남점"], ["둘째"]]


def test_a_writer_in_trouble_leaves_the_marks(application: Flask) -> None:
    branch("gangnam")

    class Broken:
        def apply(self, put: Any, delete: Any = ()) -> None:
            raise EngineUnavailable("busy")

    broken: Any = Broken()
    with pytest.raises(EngineUnavailable):
        Indexer(engine()).drain(broken)
    with unit_of_work("search") as session:
        assert session.scalars(select(Pending.branch_id)).all() == ["gangnam"]


def test_one_document_that_is_refused_does_not_hold_up_the_others(application: Flask) -> None:
    for name in ("a", "bad", "c"):
        branch(name)
    taken: list[str] = []

    class Picky:
        def apply(self, put: Any, delete: Any = ()) -> None:
            if any(document.branch_id == "bad" for document in put):
                raise DocumentRefused("bad: because")
            taken.extend(document.branch_id for document in put)

    picky: Any = Picky()
    made = Indexer(engine())
    assert made.drain(picky) == 3
    assert taken == ["a", "c"]
    assert made.drain(picky) == 0


def test_an_empty_index_is_filled_from_the_database(client: FlaskClient, indexer: Indexer, tmp_path: Path) -> None:
    branch("gangnam")
    until(lambda: names(client) != [])
    indexer.stopping.set()
    with unit_of_work("search") as session:
        session.query(Rebuild).delete()
    fresh = type(engine())(tmp_path / "another")  # type: ignore[call-arg]
    other = Indexer(fresh)
    thread = threading.Thread(target=other.run)
    thread.start()
    until(lambda: fresh.count() == 1)
    other.stopping.set()
    thread.join()


@pytest.mark.parametrize("damage", ["meta.json", "current", "folder"])
def test_a_damaged_index_is_told_and_made_anew(client: FlaskClient, tmp_path: Path, damage: str) -> None:
    branch("gangnam")
    made = Indexer(engine())
    with engine().writer() as writer:
        made.drain(writer)
    folder = next((tmp_path / "index").glob("format-*"))
    generation = next(folder.glob("g-*"))
    if damage == "meta.json":
        (generation / "meta.json").write_text("{")
    elif damage == "current":
        (folder / "current").write_text("g-0")
    else:
        shutil.rmtree(generation)
    engine.cache_clear()
    answer = client.get("/search/v1/branches")
    assert (answer.status_code, answer.json.get("code")) in ((503, "search_unavailable"), (200, None))
    made = Indexer(engine())
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: client.get("/search/v1/branches").json.get("total") == 1)
    made.stopping.set()
    thread.join()


def test_a_rebuild_on_request(client: FlaskClient, indexer: Indexer, token_for: Any) -> None:
    for number in range(5):
        branch(f"b{number}", name=f"지점 {number}")
    until(lambda: len(names(client)) == 5)
    operator = token_for("operator", "operator")
    assert client.post("/search/v1/index/rebuilds", headers=token_for("m", "customer")).status_code == 403
    answer = client.post("/search/v1/index/rebuilds", headers=operator)
    assert answer.status_code == 202
    place = answer.headers["Location"]
    until(lambda: client.get(place, headers=operator).json["state"] == "done")
    found = client.get(place, headers=operator).json
    assert found["documents"] == 5
    assert found["finished_at"]
    assert len(names(client)) == 5
    branch("late", name="나중 지점")
    until(lambda: len(names(client)) == 6)
    listed = client.get("/search/v1/index/rebuilds", headers=operator).json["items"]
    assert found["rebuild_id"] in [row["rebuild_id"] for row in listed]
    assert client.get("/search/v1/index", headers=operator).json == {"engine": "tantivy", "documents": 6, "pending": 0}


def test_asking_twice_makes_one_rebuild(client: FlaskClient, token_for: Any) -> None:
    operator = token_for("operator", "operator")
    first = client.post("/search/v1/index/rebuilds", headers=operator).json
    again = client.post("/search/v1/index/rebuilds", headers=operator).json
    assert first["rebuild_id"] == again["rebuild_id"]


def test_changes_during_a_rebuild_are_in_the_new_index(application: Flask) -> None:
    for number in range(3):
        branch(f"b{number}", name=f"지점 {number}")
    made = Indexer(engine())
    with engine().writer() as writer:
        made.drain(writer)

        class Watching:
            """Rebuilds with the real writer, while other changes are drained in between."""

            held, serving = None, ""

            def apply(self, put: Any, delete: Any = ()) -> None:
                writer.apply(put, delete)

            def swap(self) -> int:
                return writer.swap()

            def build(self, documents: Any, catch_up: Any) -> int:
                def slowly() -> Iterator[Any]:
                    for batch in documents:
                        yield batch
                        deliver("branch.BranchInfoChanged", "b0", 2, branch_data("b0", name="새 이름"))
                        deliver("branch.BranchInfoChanged", "b1", 2, branch_data("b1", status="closed"))
                        branch("b9", name="새 지점")
                        made.drain(writer)

                return writer.build(slowly(), catch_up)

        watching: Any = Watching()
        with unit_of_work("search") as session:
            session.add(Rebuild(asked_by="test"))
        made.look_after_rebuild(watching)
        assert made._rebuilding is not None
        made._rebuilding.join()
    found = engine()
    assert {found.get(f"b{n}")["name"] for n in (0, 2, 9)} == {"새 이름", "지점 2", "새 지점"}  # type: ignore[index]
    assert found.get("b1") is None
    assert found.count() == 3


def test_the_process_is_found_healthy_takes_over_and_stops_when_told(
    client: FlaskClient, application: Flask, unused_port: int
) -> None:
    environment = {**os.environ, "SMARTFIT_SEARCH_INDEXER_PORT": str(unused_port)}
    command = [sys.executable, "-m", "platform_api.search.indexer"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            branch("gangnam")
            until(lambda: names(client) == ["스마트피트니스 강남점"], 60)
            ready = requests.get(f"http://127.0.0.1:{unused_port}/readyz", timeout=5)
            assert ready.json()["status"] == "ok"
            assert (
                "smartfit_search_indexed_total"
                in requests.get(f"http://127.0.0.1:{unused_port}/metrics", timeout=5).text
            )
            started = time.monotonic()
            deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", name="새 이름"))
            until(lambda: names(client) == ["새 이름"])
            print(f"found after {time.monotonic() - started:.3f} s")
            process.kill()
            process.wait()
            # Its lock is gone with it.
            deliver("branch.BranchInfoChanged", "gangnam", 3, branch_data("gangnam", name="셋째"))
            with engine().writer() as writer:
                Indexer(engine()).drain(writer)
            assert names(client) == ["셋째"]
        finally:
            process.kill()


def test_sigterm_ends_the_process_in_order(application: Flask, unused_port: int) -> None:
    environment = {**os.environ, "SMARTFIT_SEARCH_INDEXER_PORT": str(unused_port)}
    command = [sys.executable, "-m", "platform_api.search.indexer"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def ready() -> bool:
            try:
                return requests.get(f"http://127.0.0.1:{unused_port}/readyz", timeout=1).status_code == 200
            except requests.RequestException:
                return False

        until(ready, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_an_empty_index_finds_nothing_and_says_so(client: FlaskClient) -> None:
    answer = client.get("/search/v1/branches?q=강남역 주차").json
    assert (answer["items"], answer["total"], answer["next_cursor"]) == ([], 0, None)


def test_an_engine_that_is_away_is_told(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise EngineUnavailable("away")

    from platform_api.search import routes

    monkeypatch.setattr(routes, "engine", Away)
    answer = client.get("/search/v1/branches?q=강남")
    assert (answer.status_code, answer.json["code"]) == (503, "search_unavailable")
    assert answer.headers["Retry-After"]
