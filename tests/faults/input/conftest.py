"""A platform with all domains for the odd input, for each file its own: requests by the thousand use up what a day allows."""

from collections.abc import Iterator

import pytest

from tests.contract_world import Standing, World


@pytest.fixture(scope="module")
def platform(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All domains, with a little of everything in them."""
    patient = {"ADDRESS_REQUESTS_PER_MINUTE": "0", "CARD_READ_TIMEOUT_S": "60"}
    with standing(tmp_path_factory.mktemp("input"), **patient) as made:
        yield made
