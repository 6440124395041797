"""The access log: each entry once, whatever an edge sends and how often; who may read it; who is inside."""

import base64
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from platform_api.access import purge
from platform_api.core.database import database


@pytest.fixture
def gate(world: Any) -> Any:
    """(node, gate id) of a branch."""
    world.branch(capacity=2)
    node = world.node()
    return node, world.gate(node)["gate_id"]


def outbox() -> list[Any]:
    with database("access").connect() as connection:
        return list(connection.execute(text("SELECT type, envelope->'data' FROM outbox ORDER BY position")).all())


def test_a_batch_sent_again_is_kept_once_and_announced_once(gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    of_these = {"method": "face", "outcome": "granted"}
    before = REGISTRY.get_sample_value("smartfit_entries_total", of_these) or 0
    batch = [make_entry(gate_id, member_id=str(uuid.uuid4())) for _ in range(5)]
    assert node.entries(*batch[:3]) == {"accepted": 3, "duplicates": 0, "errors": []}
    assert node.entries(*batch, batch[4]) == {"accepted": 2, "duplicates": 4, "errors": []}
    assert node.entries(*batch) == {"accepted": 0, "duplicates": 5, "errors": []}
    events = outbox()
    assert len(events) == 5
    assert {data["entry_id"] for _, data in events} == {entry["entry_id"] for entry in batch}
    assert REGISTRY.get_sample_value("smartfit_entries_total", of_these) == before + 5


def test_events_say_what_the_gate_decided(gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    member = str(uuid.uuid4())
    early, late = datetime.now(UTC) - timedelta(minutes=2), datetime.now(UTC) - timedelta(minutes=1)
    refused = make_entry(gate_id, late, outcome="denied", reason="no_match", gate_result="not_commanded", score=None)
    node.entries(refused, make_entry(gate_id, early, member_id=member))
    (first, granted), (second, denied) = outbox()
    assert (first, second) == ("access.AccessGranted", "access.AccessDenied")
    assert (granted["member_id"], granted["branch_id"], granted["method"]) == (member, "gangnam", "face")
    assert (denied["member_id"], denied["reason"]) == (None, "no_match")


def test_one_bad_entry_does_not_lose_the_others(world: Any, gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    world.branch("mapo")
    foreign = world.gate(world.node("mapo"), "mapo")["gate_id"]
    future = datetime.now(UTC) + timedelta(hours=1)
    batch = [
        make_entry(gate_id),
        make_entry(foreign),
        make_entry(gate_id, entry_id="no uuid"),
        make_entry(gate_id, outcome="perhaps"),
        make_entry(gate_id, future),
        {"entry_id": str(uuid.uuid4())},
        "not an entry",
        make_entry(gate_id, score=float("nan")),
        make_entry(gate_id, at=None) | {"at": "2026-01-01T00:00:00"},
        make_entry(gate_id, reason="DROP TABLE"),
        make_entry(gate_id, something_new=1),
    ]
    taken = node.entries(*batch)
    assert taken["accepted"] == 2
    told = {error["index"]: error["code"] for error in taken["errors"]}
    assert told == {
        1: "gate_not_yours", 2: "entry_invalid", 3: "entry_invalid", 4: "at_in_future", 5: "entry_invalid",
        6: "entry_invalid", 7: "entry_invalid", 8: "entry_invalid", 9: "entry_invalid",
    }  # fmt: skip
    assert taken["errors"][0]["entry_id"] == batch[1]["entry_id"]


def test_batches_have_a_limit(gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    answer = node.call("POST", "/entries", json={"entries": [make_entry(gate_id)] * 501})
    assert (answer.status_code, answer.json["code"]) == (413, "batch_too_large")
    assert node.call("POST", "/entries", json={"entries": []}).status_code == 422
    assert (
        node.call("POST", "/entries", data=b"x" * (3 * 2**20), headers={"Content-Type": "application/json"}).status_code
        == 413
    )
    assert node.call("POST", "/entries", data=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    assert node.entries(*[make_entry(gate_id) for _ in range(500)])["accepted"] == 500


def test_who_reads_what(world: Any, gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    world.branch("mapo")
    other_node = world.node("mapo")
    other_gate = world.gate(other_node, "mapo")["gate_id"]
    anna, ben = str(uuid.uuid4()), str(uuid.uuid4())
    node.entries(make_entry(gate_id, member_id=anna), make_entry(gate_id, member_id=ben), make_entry(gate_id))
    other_node.entries(make_entry(other_gate, member_id=anna))

    def seen(who: dict[str, str], **query: Any) -> list[tuple[str, Any]]:
        found = world.ok("GET", "/entries", who, query_string=query)["items"]
        return sorted((entry["branch_id"], entry["member_id"] or "") for entry in found)

    customer = world.token_for(anna, "customer")
    manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    assert seen(customer) == [("gangnam", anna), ("mapo", anna)]
    assert seen(customer, member_id=ben) == []
    assert seen(manager) == sorted([("gangnam", anna), ("gangnam", ben), ("gangnam", "")])
    assert seen(manager, branch_id="mapo") == []
    assert len(seen(world.operator)) == 4
    assert seen(world.operator, member_id=anna, branch_id="mapo") == [("mapo", anna)]
    assert seen(world.token_for("manager-1", "customer", branch_ids=("gangnam",))) == []


def test_search_pages_and_filters(world: Any, gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    start = datetime.now(UTC) - timedelta(hours=5)
    batch = [
        make_entry(gate_id, start + timedelta(minutes=i), outcome="denied" if i % 3 == 0 else "granted")
        for i in range(25)
    ]
    node.entries(*batch)
    found: list[str] = []
    cursor = None
    while True:
        page = world.ok("GET", "/entries", query_string={"limit": 4, **({"cursor": cursor} if cursor else {})})
        found += [entry["entry_id"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [entry["entry_id"] for entry in reversed(batch)]
    window = {"from": batch[5]["at"], "to": batch[10]["at"], "outcome": "granted"}
    some = world.ok("GET", "/entries", query_string=window)["items"]
    assert [entry["entry_id"] for entry in some] == [batch[i]["entry_id"] for i in (8, 7, 5)]
    for query in ({"limit": 0}, {"limit": 1000}, {"from": "yesterday"}, {"outcome": "x"}):
        assert world.refused("GET", "/entries", query_string=query)[0] == 422
    not_an_id = base64.urlsafe_b64encode(json.dumps([start.isoformat(), "x"]).encode()).decode()
    for cursor in ("abc", not_an_id):
        assert world.refused("GET", "/entries", query_string={"cursor": cursor}) == (400, "bad_cursor")


def test_occupancy_whatever_the_order_and_repetition(world: Any, gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    now = datetime.now(UTC)
    anna, ben, chris = (str(uuid.uuid4()) for _ in range(3))

    def passed(minutes_ago: float, who: str | None, direction: str = "in", **fields: Any) -> dict[str, Any]:
        return make_entry(gate_id, now - timedelta(minutes=minutes_ago), member_id=who, direction=direction, **fields)

    log = [
        passed(300, None, "out", method="exit", reason="exit"),
        passed(200, anna),
        passed(190, ben),
        passed(180, anna, "out"),
        passed(170, anna),
        passed(160, chris, outcome="denied", reason="capacity_full", gate_result="not_commanded"),
        passed(150, chris, gate_result="unreachable"),
        passed(13 * 60, "forgotten"),
    ]
    rng = random.Random(4)
    for _ in range(3):
        rng.shuffle(log)
        node.entries(*log[:5])
    node.entries(*log)
    state = world.ok("GET", "/branches/gangnam/occupancy", world.token_for(anna, "customer"))
    assert (state["inside"], state["capacity"], state["full"]) == (2, 2, True)
    node.sync()
    assert node.replica["occupancy", "gangnam"]["inside"] == 2
    node.entries(passed(1, None, "out", method="exit", reason="exit"))
    node.sync()
    assert node.replica["occupancy", "gangnam"]["inside"] == 1
    assert world.refused("GET", "/branches/nowhere/occupancy") == (404, "not_found")


def test_old_entries_are_deleted_in_time(gate: Any, make_entry: Any) -> None:
    node, gate_id = gate
    node.entries(make_entry(gate_id), make_entry(gate_id, datetime.now(UTC) - timedelta(days=500)))
    assert purge.run()["entries"] == 1
