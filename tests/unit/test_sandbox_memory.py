"""Sandboxes run for days: what they remember is bounded."""

import pytest

from infra.sandboxes.card import luhn_valid
from infra.sandboxes.gate import GATES, create_app
from infra.sandboxes.server import LOG_ENTRIES, Log, Recent


def test_recent_forgets_the_oldest() -> None:
    recent: Recent[int] = Recent(3)
    for number in range(10):
        recent.put(str(number), number)
    assert len(recent) == 3
    assert recent.get("6") is None
    assert recent.get("9") == 9


def test_log_is_bounded() -> None:
    log = Log()
    for number in range(LOG_ENTRIES + 5):
        log.add(number=number)
    assert len(log.entries()) == LOG_ENTRIES
    assert log.entries()[0]["number"] == 5


def test_gates_are_bounded() -> None:
    client = create_app("k").test_client()
    headers = {"Authorization": "Bearer k"}
    statuses = {
        client.post(f"/gates/g{n}/commands", json={"command_id": "1", "command": "open"}, headers=headers).status_code
        for n in range(GATES)
    }
    assert statuses == {200}
    answer = client.post("/gates/more/commands", json={"command_id": "1", "command": "open"}, headers=headers)
    assert answer.status_code == 507


@pytest.mark.parametrize(
    ("number", "valid"), [("4111111111111111", True), ("4111111111111112", False), ("79927398713", True), ("0", True)]
)
def test_luhn(number: str, valid: bool) -> None:
    assert luhn_valid(number) is valid
