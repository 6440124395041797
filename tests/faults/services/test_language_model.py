"""The language model refuses connections, hangs, drips, or answers nonsense while the search line asks it for keywords."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import text

from data_assets.platform import Platform
from data_assets.search import assets
from platform_api.app import create_app
from platform_api.core.database import database
from platform_api.core.storage import ObjectStore
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from platform_api.search.settings import settings
from tests.conftest import Keys, Postgres
from tests.learning_world import materialize, metadata, object_store, outcomes, served
from tests.results import save, sized
from tests.search_world import branch
from tests.services_world import DAMAGE, KEY, Pace, Sandbox, during
from tests.waiting import wait_for

KINDS = sized(("refused", "drip", "wrong_types"), tuple(DAMAGE))
PLACES = ("강남", "역삼", "서초", "잠실", "홍대", "신촌")
TIMEOUT_S = 1.0
"""Between bytes; the product's own is a minute."""
RUN_S, SEARCH_P95_MS = 90.0, sized(2000.0, 300.0)
BAR = (
    f"whatever the language model does, the search line ends within {RUN_S:g} s (with {TIMEOUT_S:g} s for an answer), says why, leaves every "
    "branch to the offline extractor, writes no keyword and no answer down, and serves a whole index; the next run gets all keywords; "
    f"searches meanwhile at P95 under {SEARCH_P95_MS:g} ms, none failed, and none asks the model"
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox("llm", tmp_path_factory.mktemp("llm"))
    made.wait()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def application(
    postgres: Postgres,
    keys: Keys,
    model: Sandbox,
    empty_database: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Flask]:
    """The search domain with six branches, its indexer at work, and the settings that lead to the model."""
    empty_database("search")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ENVIRONMENT": "test",
            "SEARCH_INDEX_DIR": str(tmp_path_factory.mktemp("index")),
            "LLM_URL": f"{model.url}/v1",
            "LLM_MODEL": "test-model",
            "LLM_API_KEY": KEY,
            "LLM_CA_FILE": model.ca_file,
            "LLM_TIMEOUT_S": str(TIMEOUT_S),
            "LLM_REQUESTS_PER_MINUTE": "100000",
        }.items():
            patch.setenv(f"SMARTFIT_{name}", value)
        settings.cache_clear()
        engine.cache_clear()
        app = create_app(["search"])
        indexer = Indexer(engine())
        thread = threading.Thread(target=indexer.run)
        thread.start()
        for number, place in enumerate(PLACES):
            branch(
                f"b{number}", name=f"스마트피트니스 {place}점", description=f"{place}에서 루프탑이 있는 조용한 헬스장"
            )
        wait_for(lambda: engine().count() == len(PLACES))
        yield app
        indexer.stopping.set()
        thread.join()
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture(scope="module")
def platform(application: Flask, token_for: Callable[..., dict[str, str]]) -> Iterator[Platform]:
    """The search domain on a socket."""
    with served(application, token_for) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path, keys: Keys) -> ObjectStore:
    return object_store(tmp_path / "objects", keys.keyring_file)


@pytest.fixture(scope="module")
def happened() -> Iterator[dict[str, Any]]:
    """What each kind of damage did; kept as one result."""
    found: dict[str, Any] = {}
    yield found
    each = [found[kind] for kind in KINDS if kind in found]
    if not each:
        return
    sums = {
        "half_written": sum(one["keywords_written"] + one["answers_kept"] for one in each),
        "branches_lost": sum(one["branches"] - one["served"] for one in each),
        "line_s_max": max(one["line_s"] for one in each),
        "search_p95_ms": max(one["searches"]["p95_ms"] for one in each),
    }
    holds = (
        len(each) == len(KINDS)
        and not sums["half_written"]
        and not sums["branches_lost"]
        and sums["line_s_max"] < RUN_S
        and sums["search_p95_ms"] < SEARCH_P95_MS
        and all(one["after"]["extracted"] == one["branches"] and not one["searches"]["failed"] for one in each)
    )
    save("faults", "services_language_model", {**sums, **found}, bar=BAR, holds=holds)


def written() -> int:
    """Keywords in the search domain."""
    with database("search").connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM branch_keywords")).scalar_one())


@pytest.mark.parametrize("kind", KINDS)
def test_the_line_ends_and_search_knows_nothing_of_it(
    platform: Platform, model: Sandbox, store: ObjectStore, happened: dict[str, Any], kind: str
) -> None:
    address = platform._http.base_url  # type: ignore[attr-defined] # where `served` listens

    def search(session: requests.Session) -> requests.Response:
        return session.get(f"{address}/search/v1/branches", params={"q": "강남 조용한"}, timeout=30)

    with database("search").begin() as connection:
        connection.execute(text("DELETE FROM branch_keywords"))
    if "searches_before" not in happened:
        happened["searches_before"] = during(search, 3.0)
    model.damage(kind)
    searches = Pace(search)
    searches.start()
    begun = time.monotonic()
    result = materialize(assets.ASSETS, assets.CHECKS, platform, store)
    line_s = time.monotonic() - begun
    told, found = metadata(result, assets.KEYWORDS), searches.stop()
    left = {"keywords_written": written(), "answers_kept": len(store.list("cache/keywords"))}
    model.mend()
    asked = len(model.control("GET", "log").json()["entries"])
    search(requests.Session()).raise_for_status()
    asked_by_search = len(model.control("GET", "log").json()["entries"]) - asked
    begun = time.monotonic()
    again = materialize([assets.search_corpus, assets.search_keywords], [], platform, store)
    after = {name: metadata(again, assets.KEYWORDS)[name] for name in ("extracted", "offline")}
    happened[kind] = {
        "branches": len(PLACES),
        "offline": told["offline"],
        "because": told["left_offline_because"],
        "questions": told["requests"],
        "line_s": round(line_s, 2),
        **left,
        "served": engine().count(),
        "searches": found,
        "asked_by_search": asked_by_search,
        "after": after,
        "recovered_in_s": round(time.monotonic() - begun, 2),
    }
    assert result.success
    assert told["offline"] == len(PLACES)
    assert sum(told["left_offline_because"].values()) == len(PLACES)
    assert not outcomes(result)[assets.ASKED_MODEL], "an operator is told"
    assert outcomes(result)[assets.IS_WHOLE]
    assert left == {"keywords_written": 0, "answers_kept": 0}
    assert engine().count() == len(PLACES)
    assert line_s < RUN_S
    assert found["failed"] == {}
    assert found["p95_ms"] < SEARCH_P95_MS
    assert asked_by_search == 0
    assert after == {"extracted": len(PLACES), "offline": 0}
    assert written() == len(PLACES)
