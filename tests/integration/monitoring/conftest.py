"""The monitoring domain's application and processes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

import platform_api.monitoring.events  # noqa: F401 - its handlers register
from platform_api.app import create_app
from platform_api.monitoring.settings import settings
from tests import monitoring_world as world


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def monitoring_app(postgres: Any, keys: Any) -> Iterator[Flask]:
    """The REST API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMARTFIT_ENVIRONMENT", "test")
        patch.setenv("SMARTFIT_ECHO_NETWORKS", world.LOOPBACK)
        settings.cache_clear()
        yield create_app(["monitoring"])
    settings.cache_clear()


@pytest.fixture
def api(monitoring_app: Flask) -> FlaskClient:
    """A client, on an empty database."""
    world.empty()
    return monitoring_app.test_client()


@pytest.fixture
def operator(token_for: Callable[..., dict[str, str]]) -> dict[str, str]:
    return token_for("operator-1", "operator")


@pytest.fixture(scope="module")
def plant(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[world.Plant]:
    """Simulated equipment, a heartbeat server and a prober, in a hurry."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.QUICK.items():
            patch.setenv(name, value)
        settings.cache_clear()
        world.empty()
        made = world.Plant(tmp_path_factory.mktemp("plant"), postgres.urls["monitoring"], **world.QUICK)
        try:
            made.start_sandbox(wait=False)
            made.start_heartbeat(wait=False)
            made.start_prober()
            yield made
        finally:
            made.stop()
    settings.cache_clear()
