"""How gunicorn serves the REST APIs, apart from what a running server shows (tests/integration/test_api_server.py)."""

import gc
from collections.abc import Iterator

import pytest

from platform_api import gunicorn_conf


@pytest.fixture
def thawed() -> Iterator[None]:
    """Garbage is collected as before once the test is over."""
    yield
    gc.unfreeze()


def test_a_full_collection_does_not_go_through_the_application(thawed: None) -> None:
    gunicorn_conf.post_worker_init(None)
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects(generation=2)) < gc.get_freeze_count() / 10
