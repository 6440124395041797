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
    folder = tmp_path_factory.mktemp("input")
    with whole_application(folder, ADDRESS_REQUESTS_PER_MINUTE="0", CARD_READ_TIMEOUT_S="60") as app:
        yield World(app, token_for)
