"""Search as its callers meet it: the real application, PostgreSQL, an index in a folder, an indexer on demand."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from platform_api.app import create_app
from platform_api.core.database import database
from platform_api.search.engines.choice import engine
from platform_api.search.indexer import Indexer
from platform_api.search.settings import settings
from tests.search_world import HONGDAE, SEOMYEON, WEEKDAYS, ElasticsearchServer, branch

_TABLES = (
    "report", "review", "visit", "member", "pending", "rebuild", "branch_keywords", "branch", "outbox", "inbox", "idempotency_key",
)  # fmt: skip


@pytest.fixture(scope="session")
def elasticsearch_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticsearchServer]:
    """A server that speaks Elasticsearch; tests are skipped where it cannot be started."""
    server = ElasticsearchServer(tmp_path_factory.mktemp("noida"))
    try:
        server.start()
    except (ImportError, OSError, TimeoutError) as error:
        server.stop()
        pytest.skip(f"no Elasticsearch to talk to: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def whole_application(postgres: Any, keys: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The search domain's application; `application` is the same, empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_SEARCH_INDEX_DIR", str(tmp_path_factory.mktemp("index")))
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        yield create_app(["search"])
    settings.cache_clear()
    engine.cache_clear()


def emptied(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """No rows, and an index of its own in `folder`."""
    patch.setenv("SMARTFIT_SEARCH_INDEX_DIR", str(folder))
    settings.cache_clear()
    engine.cache_clear()
    with database("search").begin() as connection:
        connection.execute(text(";".join(f"DELETE FROM {name}" for name in _TABLES)))


@pytest.fixture
def application(whole_application: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The search domain's application on an empty database and an empty index."""
    emptied(tmp_path / "index", monkeypatch)
    return whole_application


@pytest.fixture
def client(application: Flask) -> FlaskClient:
    """A client of the application."""
    return application.test_client()


def indexed() -> int:
    """Do what the indexer does when it is woken, until nothing is left to do. Returns the number of branches."""
    done = 0
    with engine().writer() as writer:
        while count := Indexer(engine()).drain(writer):
            done += count
    return done


@pytest.fixture(scope="module")
def chain(whole_application: Flask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """Four branches that may be found and two that may not, indexed; for tests that change none of them."""
    with pytest.MonkeyPatch.context() as patch:
        emptied(tmp_path_factory.mktemp("chain"), patch)
        branch("gangnam", name_en="Smart Fitness Gangnam", amenities=["parking", "shower"])
        branch("yeoksam", name="온핏 역삼점", latitude=37.5006, longitude=127.0364, hours=WEEKDAYS, amenities=["pilates"],
               prices=[{"plan": "1개월", "won": 39_000, "months": 1}])  # fmt: skip
        branch("hongdae", name="머슬팩토리 홍대점", address="서울특별시 마포구 서교동 1", region="서울 마포구", latitude=HONGDAE[0],
               longitude=HONGDAE[1], amenities=["parking", "pool"])  # fmt: skip
        branch("busan", name="블랙짐 서면점", address="부산광역시 부산진구 부전동 5", region="부산 부산진구", latitude=SEOMYEON[0],
               longitude=SEOMYEON[1], amenities=["sauna"])  # fmt: skip
        branch("closed", name="닫은 지점", status="closed")
        branch("soon", name="곧 여는 지점", status="preparing")
        assert indexed() == 6
        yield whole_application.test_client()


@pytest.fixture
def unused_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
