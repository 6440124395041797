"""One platform with all domains for the odd input."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract_world import Headers, World, whole_application


@pytest.fixture(scope="package")
def platform(
    postgres: Any,
    keys: Any,
    token_for: Callable[..., Headers],
    empty_database: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """All domains, with a little of everything in them."""
    empty_database(*postgres.urls)
    with whole_application(tmp_path_factory.mktemp("input")) as app:
        yield World(app, token_for)
