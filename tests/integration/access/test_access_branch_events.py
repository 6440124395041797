"""The branch domain describes branches; the gates hear of it, in whatever order its events arrive."""

from typing import Any

from platform_api.access import events
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers

HOURS = {"mon": [["06:00", "23:00"]]}


def told(version: int, **fields: Any) -> None:
    """Deliver what the branch domain says, as the worker would."""
    data = {
        "branch_id": "gangnam", "name": "강남점", "name_en": None, "description": "", "description_en": None,
        "address": "서울", "region": "강남구", "latitude": 37.5, "longitude": 127.0, "timezone": "Asia/Seoul",
        "hours": HOURS, "amenities": [], "prices": [], "capacity": 50, "status": "open", "manager_ids": [], "phone": None,
        **fields,
    }  # fmt: skip
    type = "branch.BranchInfoCreated" if version == 1 else "branch.BranchInfoChanged"
    event = Event.new(type, "gangnam", version, data)
    with unit_of_work("access") as session:
        for handler in handlers(events.SUBSCRIBER, type):
            handler(session, event)


def test_a_branch_reaches_the_gates_as_its_managers_describe_it(world: Any) -> None:
    told(1)
    node = world.node()
    node.sync()
    assert node.replica["branch", "gangnam"]["hours"] == HOURS
    told(3, capacity=70)
    told(2, capacity=60)
    told(1)
    node.sync()
    assert node.replica["branch", "gangnam"]["capacity"] == 70


def test_a_branch_that_is_not_open_has_no_hours_and_keeps_its_mode(world: Any) -> None:
    told(1, status="preparing", hours=None)
    node = world.node()
    world.ok("POST", "/branches/gangnam/mode", json={"mode": "lockdown", "reason": "drill"})
    node.sync()
    assert node.replica["branch", "gangnam"]["hours"] == {}
    told(2, hours=None)
    node.sync()
    shown = node.replica["branch", "gangnam"]
    assert (shown["hours"], shown["mode"]) == (None, "lockdown")


def test_what_was_described_here_first_is_taken_over(world: Any) -> None:
    world.branch("gangnam", capacity=10)
    node = world.node()
    node.sync()
    told(1)
    node.sync()
    assert node.replica["branch", "gangnam"]["capacity"] == 50
