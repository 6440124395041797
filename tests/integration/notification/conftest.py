"""The notification domain as its callers meet it: real application, PostgreSQL, push gateway and mail server (sandboxes);
other domains speak by events.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from platform_api.app import create_app
from tests.notification_world import Outside, World, outside_services


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """Push gateway, a push service of browsers, and mail server."""
    with outside_services(tmp_path_factory.mktemp("outside")) as found:
        yield found


@pytest.fixture(scope="module")  # settings and stores are the process's: another file's application has its own
def application(postgres: Any, keys: Any, outside: Outside) -> Iterator[Flask]:
    """The notification domain's application."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in outside.environment.items():
            patch.setenv(name, value)
        yield create_app(["notification"])


@pytest.fixture
def world(
    application: Flask,
    empty_database: Callable[..., None],
    token_for: Callable[..., dict[str, str]],
    outside: Outside,
) -> World:
    """An empty platform."""
    empty_database("notification")
    outside.reset()
    return World(application.test_client(), token_for, outside)


@pytest.fixture
def staffed(world: World) -> World:
    """A branch with a manager and an operator, each with a phone."""
    world.member("manager-1", "branch_manager")
    world.member("operator-1", "operator")
    world.branch(manager_ids=["manager-1"])
    return world
