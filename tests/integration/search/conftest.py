"""Search as its callers meet it: the real application, PostgreSQL, an index in a folder, an indexer on demand."""

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
from tests.search_world import ElasticsearchServer

_TABLES = (
    "report", "review", "visit", "member", "pending", "rebuild", "branch", "outbox", "inbox", "idempotency_key",
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


@pytest.fixture
def application(postgres: Any, keys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The search domain's application on an empty database and an empty index."""
    monkeypatch.setenv("SMARTFIT_SEARCH_INDEX_DIR", str(tmp_path / "index"))
    monkeypatch.setenv("SMARTFIT_ENVIRONMENT", "test")
    with database("search").begin() as connection:
        connection.execute(text(";".join(f"DELETE FROM {name}" for name in _TABLES)))
    yield create_app(["search"])
    settings.cache_clear()
    engine.cache_clear()


@pytest.fixture
def client(application: Flask) -> FlaskClient:
    """A client of the application."""
    return application.test_client()


@pytest.fixture
def index(application: Flask) -> Any:
    """`index()` does what the indexer does when it is woken, until nothing is left to do."""

    def run() -> int:
        done = 0
        with engine().writer() as writer:
            while count := Indexer(engine()).drain(writer):
                done += count
        return done

    return run
