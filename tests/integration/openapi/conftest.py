"""One platform for all tests of the OpenAPI document."""

from collections.abc import Iterator

import pytest

from tests.contract_world import Standing, World


@pytest.fixture(scope="package")
def world(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All domains, with a little of everything in them."""
    with standing(tmp_path_factory.mktemp("contract")) as made:
        yield made
