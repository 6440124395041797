"""Floods become digests, quiet hours are kept (never for faults), and what nobody acknowledges goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from platform_api.core import clock
from platform_api.notification.jobs import escalate_faults, forget_old

World = Any


def until(hour: int, minute: int = 0) -> timedelta:
    """From now to the next time that Seoul's clock shows so."""
    now = datetime.now(UTC)
    wanted = now.replace(hour=(hour - 9) % 24, minute=minute, second=0, microsecond=0)
    return (wanted - now) % timedelta(days=1)


def test_a_flood_of_faults_becomes_a_digest(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    for number in range(1, 9):
        staffed.fault(name=f"사이클 {number}")
    staffed.fault(name="화재 감지기", severity="critical")
    staffed.drain()
    assert staffed.pushed_titles(phone) == [
        "[장애·중대] 강남점 사이클 1", "[장애·중대] 강남점 사이클 2", "[장애·중대] 강남점 사이클 3",
        "[장애·긴급] 강남점 화재 감지기",
    ]  # fmt: skip
    # All of them stand in the history; the digest does not, since it says nothing new.
    assert len(staffed.told("manager-1", kind="equipment_fault")) == 9
    with clock.travel(timedelta(seconds=301)):
        staffed.drain()
        message = staffed.pushed(phone)[-1]
        assert message["notification"]["title"] == "[장애 5건 더] 강남점"
        assert message["notification"]["body"].startswith("사이클 4, 사이클 5, 사이클 6 외 2건.")
        assert len(staffed.told("manager-1", kind="equipment_fault")) == 9
        # A new window begins.
        staffed.fault(name="사이클 9")
        staffed.drain()
    assert staffed.pushed_titles(phone)[-1] == "[장애·중대] 강남점 사이클 9"
    assert len(staffed.pushed(phone)) == 6


def test_a_flood_in_one_branch_hides_no_other_branch(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    staffed.branch("busan", name="부산점", manager_ids=["manager-1"])
    staffed.drain()
    for _ in range(5):
        staffed.fault()
    staffed.fault(branch_id="busan")
    staffed.drain()
    assert staffed.pushed_titles(phone)[-1] == "[장애·중대] 부산점 트레드밀 3"


def test_other_floods_are_counted_by_kind(world: World) -> None:
    world.member("kim", language="en")
    world.branch()
    phone = world.phone("kim")
    for _ in range(7):
        world.entry("kim", granted=False, reason="lockout")
    world.drain()
    assert len(world.pushed(phone)) == 5
    with clock.travel(timedelta(seconds=601)):
        world.drain()
    assert world.pushed_titles(phone)[-1] == "2 more notifications"


@pytest.fixture
def sleeper(staffed: World) -> World:
    """A manager who also helps, and sleeps from ten to eight in Seoul."""
    staffed.who_phone = staffed.phone("manager-1")
    wanted = {"timezone": "Asia/Seoul", "quiet_from": "22:00", "quiet_until": "08:00"}
    staffed.ok("PUT", "/preferences", "manager-1", json=wanted, headers={"If-Match": '"0"'})
    staffed.drain()
    staffed.fcm.control("DELETE", "messages")
    return staffed


def judged(world: World) -> None:
    data = {
        "task_id": "t1", "branch_id": "gangnam", "helper_id": "manager-1", "kind": "folding", "verdict": "not_done",
        "confidence": 0.9, "model_version": None, "judged_at": clock.now().isoformat(), "photos": [],
    }  # fmt: skip
    world.deliver("mlops.TaskJudged", "t1", 2, data)


def test_quiet_hours_wait_but_never_a_fault(sleeper: World) -> None:
    midnight = until(0, 30)
    with clock.travel(midnight):
        judged(sleeper)
        sleeper.drain()
        assert sleeper.pushed() == []
        # It stands in the history at once.
        assert len(sleeper.told("manager-1", kind="task")) == 1
        sleeper.fault()
        sleeper.drain()
        assert [message["data"]["kind"] for message in sleeper.pushed()] == ["equipment_fault"]
    with clock.travel(midnight + timedelta(hours=7, minutes=29)):
        sleeper.drain()
        assert len(sleeper.pushed()) == 1
    with clock.travel(midnight + timedelta(hours=7, minutes=31)):
        sleeper.drain()
    assert [message["data"]["kind"] for message in sleeper.pushed()] == ["equipment_fault", "task"]


def test_by_day_nothing_waits(sleeper: World) -> None:
    with clock.travel(until(13)):
        judged(sleeper)
        sleeper.drain()
    assert len(sleeper.pushed()) == 1


def test_a_fault_nobody_acknowledges_goes_to_operators_and_again(staffed: World) -> None:
    phone, office = staffed.phone("manager-1"), staffed.phone("operator-1")
    staffed.fault()
    staffed.drain()
    assert staffed.pushed(office) == []
    with clock.travel(timedelta(seconds=290)):
        assert escalate_faults() == 0
    title = "[미확인 장애·중대] 강남점 트레드밀 3"
    waited = timedelta(seconds=301)
    for level in range(1, 5):
        with clock.travel(waited):
            assert escalate_faults() == 1
            assert escalate_faults() == 0
            staffed.drain()
            assert staffed.pushed_titles(office) == [title] * level
            assert staffed.pushed_titles(phone)[1:] == [title] * level
        waited += timedelta(seconds=901)
    # Four times is enough.
    with clock.travel(waited):
        assert escalate_faults() == 0
    (alert,) = staffed.ok("GET", "/alerts", staffed.operator)["items"]
    assert (alert["level"], alert["next_at"], alert["told"]) == (4, None, ["manager-1", "operator-1"])
    assert len(staffed.rows("SELECT 1 FROM audit_log WHERE action = 'fault.escalate'")) == 4


def test_an_acknowledgement_or_the_end_stops_it(staffed: World) -> None:
    staffed.phone("manager-1")
    staffed.acknowledge(staffed.fault(), "manager-1")
    staffed.recover(staffed.fault())
    with clock.travel(timedelta(hours=1)):
        assert escalate_faults() == 0


def test_managers_see_the_faults_of_their_own_branches(staffed: World) -> None:
    staffed.branch("busan", name="부산점")
    staffed.fault()
    staffed.fault(branch_id="busan")
    mine = staffed.who("manager-1", "branch_manager", branch_ids=("gangnam",))
    assert [item["branch_id"] for item in staffed.ok("GET", "/alerts", mine)["items"]] == ["gangnam"]
    assert staffed.ok("GET", "/alerts", mine, query_string={"branch_id": "busan"})["items"] == []
    assert len(staffed.ok("GET", "/alerts", staffed.operator, query_string={"state": "open"})["items"]) == 2
    assert staffed.refused("GET", "/alerts", "kim") == (403, "forbidden")


def test_history_past_its_time_is_deleted(staffed: World) -> None:
    staffed.phone("manager-1")
    staffed.fault()
    staffed.drain()
    forget_old()
    assert len(staffed.told("manager-1")) == 3
    with clock.travel(timedelta(days=91)):
        forget_old()
    assert staffed.told("manager-1") == []
    for table in ("notification", "delivery", "flood"):
        assert staffed.rows(f"SELECT 1 FROM {table}") == []
