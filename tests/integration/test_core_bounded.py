"""Clients of services outside the platform, against one that drips, never ends, or leads in circles: by HTTPS, for real."""

import time
from collections.abc import Iterator

import pytest

from platform_api.core.http import Client, ServiceUnavailable, client, document
from tests.services_world import DAMAGE, KEY, Sandbox

WHOLE_S = 1.0
CARD = {"card_number": "4111111111111111", "expiry": "12/39", "name": "김하늘", "birth_date": "1995-04-12"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox("card", tmp_path_factory.mktemp("card"))
    made.wait()
    yield made
    made.kill()


@pytest.fixture
def service(sandbox: Sandbox) -> Client:
    sandbox.faults()
    headers = {"Authorization": f"Bearer {KEY}"}
    return client(
        "card", sandbox.url, timeout=(1.0, 0.8), verify=sandbox.ca_file, breaker=False, headers=headers, whole_s=WHOLE_S
    )


def asked(service: Client) -> tuple[str, float]:
    """The reason why there is no answer, and the seconds until it was given up."""
    begun = time.monotonic()
    with pytest.raises(ServiceUnavailable) as refused:
        service.post("/v1/verifications", json=CARD)
    return refused.value.reason, time.monotonic() - begun


def test_a_good_answer_is_whole_and_the_connection_is_used_again(service: Client) -> None:
    for _ in range(3):
        answer = service.post("/v1/verifications", json=CARD)
        assert document(answer)["result"] == "verified"
        assert answer.json() == document(answer)
    pools = service.session.get_adapter(service.base_url).poolmanager.pools  # type: ignore[attr-defined]
    (pool,) = (pools.get(key) for key in pools.keys())  # noqa: SIM118 - not a dict
    assert (pool.num_connections, pool.num_requests) == (1, 3)


def test_an_answer_that_drips_is_given_up_in_time(sandbox: Sandbox, service: Client) -> None:
    """A byte each quarter of a second, from the status line on: no wait between two bytes is too long."""
    sandbox.faults(**DAMAGE["drip"])
    reason, seconds = asked(service)
    assert reason in ("ReadTimeout", "ConnectionError")
    assert WHOLE_S <= seconds < WHOLE_S + 1
    sandbox.faults()
    assert service.post("/v1/verifications", json=CARD).status_code == 200


def test_an_answer_without_end_is_not_read_to_its_end(sandbox: Sandbox, service: Client) -> None:
    sandbox.faults(**DAMAGE["huge"])
    reason, seconds = asked(service)
    assert reason == "TooLarge"
    assert seconds < WHOLE_S + 1


def test_a_redirect_is_an_answer_and_is_not_followed(sandbox: Sandbox, service: Client) -> None:
    sandbox.faults(**DAMAGE["redirect"])
    assert service.post("/v1/verifications", json=CARD).status_code == 307


@pytest.mark.parametrize("kind", ["html", "truncated", "deep"])
def test_what_is_no_json_is_a_value_error(sandbox: Sandbox, service: Client, kind: str) -> None:
    sandbox.faults(**DAMAGE[kind])
    with pytest.raises(ValueError):
        document(service.post("/v1/verifications", json=CARD))
