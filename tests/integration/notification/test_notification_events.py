"""Who is told what of which event; twice, late and out of order."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events import inbox
from platform_api.core.events.inbox import DELIVERY_LIMIT
from platform_api.notification.alerts import NotKnownYet

World = Any


def test_a_member_is_welcomed_in_their_language(world: World) -> None:
    world.member("kim")
    world.member("smith", language="en")
    assert world.titles("kim") == ["환영합니다"]
    assert world.titles("smith") == ["Welcome"]


def test_a_member_hears_of_what_touches_the_account(world: World) -> None:
    world.member("kim")
    changed = {"member_id": "kim", "roles": ["customer"], "language": "en", "status": "active"}
    world.deliver("auth.MemberChanged", "kim", 2, changed)
    assert len(world.titles("kim")) == 1
    world.deliver("auth.MemberChanged", "kim", 3, {**changed, "status": "suspended"})
    world.deliver("auth.MemberChanged", "kim", 5, {**changed, "roles": ["customer", "helper"]})
    # Late, and so nothing: version 5 was heard of already.
    world.deliver("auth.MemberChanged", "kim", 4, changed)
    assert world.titles("kim")[1:] == ["Your account is suspended", "Your account is active again"]
    world.deliver("auth.MemberChanged", "kim", 6, {**changed, "roles": ["operator"]})
    assert world.told("kim")[0]["body"].startswith("They are now: operator.")


def test_a_suspended_member_hears_of_nothing_else(world: World) -> None:
    world.member("kim")
    changed = {"member_id": "kim", "roles": ["customer"], "language": "ko", "status": "suspended"}
    world.deliver("auth.MemberChanged", "kim", 2, changed)
    world.entry("kim", granted=False, reason="blocked_banned")
    assert world.titles("kim") == ["환영합니다", "계정 이용이 정지되었습니다"]


def test_a_fault_reaches_the_managers_phone(staffed: World) -> None:
    phone, office = staffed.phone("manager-1"), staffed.phone("operator-1")
    event = staffed.fault()
    staffed.drain()
    (message,) = staffed.pushed()
    assert message["token"] == phone
    assert message["notification"]["title"] == "[장애·중대] 강남점 트레드밀 3"
    assert message["data"]["fault_id"] == event.data["fault_id"]
    assert message["data"]["kind"] == "equipment_fault"
    assert message["android"]["priority"] == "HIGH"
    assert staffed.pushed(office) == []


def test_an_event_that_comes_twice_tells_nobody_twice(staffed: World) -> None:
    staffed.phone("manager-1")
    event = staffed.fault()
    staffed.drain()
    staffed.hear(event)
    staffed.drain()
    assert len(staffed.pushed()) == 1
    assert len(staffed.told("manager-1", kind="equipment_fault")) == 1


def test_operators_hear_at_once_of_what_is_critical_or_reaches_no_manager(staffed: World) -> None:
    office = staffed.phone("operator-1")
    staffed.fault(name="로잉 1")
    assert len(staffed.told("operator-1", kind="equipment_fault")) == 1
    staffed.phone("manager-1")
    staffed.fault(name="로잉 2")
    staffed.fault(name="로잉 3", severity="critical")
    staffed.drain()
    assert staffed.pushed_titles(office) == ["[장애·중대] 강남점 로잉 1", "[장애·긴급] 강남점 로잉 3"]


def test_a_fault_in_a_branch_not_heard_of_goes_to_operators_and_later_to_its_managers(world: World) -> None:
    world.member("operator-1", "operator")
    office = world.phone("operator-1")
    world.fault(branch_id="busan")
    world.member("manager-2", "branch_manager")
    phone = world.phone("manager-2")
    world.branch("busan", name="부산점", manager_ids=["manager-2"])
    world.drain()
    assert world.pushed_titles(office) == ["[장애·중대] busan 트레드밀 3"]
    assert world.pushed_titles(phone) == ["부산점 지점이 등록되었습니다", "[장애·중대] 부산점 트레드밀 3"][::-1]


def test_a_manager_named_before_they_are_known_is_told(world: World) -> None:
    world.branch(manager_ids=["manager-9"])
    world.member("operator-1", "operator")
    world.fault()
    world.member("manager-9", "branch_manager")
    assert "[장애·중대] 강남점 트레드밀 3" in world.titles("manager-9")


def test_those_who_heard_of_a_fault_hear_of_its_end(staffed: World) -> None:
    phone = staffed.phone("manager-1")
    staffed.phone("operator-1")
    event = staffed.fault()
    with clock.travel(timedelta(minutes=12)):
        staffed.recover(event)
        staffed.drain()
        assert staffed.pushed_titles(phone)[-1] == "[복구] 강남점 트레드밀 3"
        assert "12분" in staffed.pushed(phone)[-1]["notification"]["body"]
        # No fault, no acknowledgement of it.
        staffed.acknowledge(event, "operator-1")
    assert staffed.told("operator-1", kind="fault_acknowledged") == []


def test_an_acknowledgement_is_told_to_the_others(staffed: World) -> None:
    staffed.phone("manager-1")
    event = staffed.fault(severity="critical")
    staffed.acknowledge(event, "manager-1")
    assert [item["title"] for item in staffed.told("operator-1", kind="fault_acknowledged")] == [
        "[확인] 강남점 트레드밀 3"
    ]
    assert staffed.told("manager-1", kind="fault_acknowledged") == []


def test_what_is_not_known_yet_waits_and_becomes_a_dead_letter(world: World) -> None:
    event = world.fault_event()
    with pytest.raises(NotKnownYet):
        world.hear(event)
    assert world.rows("SELECT * FROM alert") == []
    with pytest.raises(NotKnownYet):
        world.recover(event)
    with pytest.raises(NotKnownYet):
        world.acknowledge(event, "manager-1")
    with pytest.raises(NotKnownYet):
        world.entry("stranger", granted=False, reason="membership_none")
    with unit_of_work("notification") as session:
        inbox.receive(session, event, "notification")
    for _ in range(DELIVERY_LIMIT):
        with unit_of_work("notification") as session:
            session.execute(text("UPDATE inbox SET next_attempt_at = clock_timestamp()"))
            assert inbox.handle_next(session, "notification")
    with unit_of_work("notification") as session:
        (dead,) = inbox.dead_letters(session, "notification")
        assert "nobody is known" in str(dead.last_error)
        # Somebody is there now: a replay tells them.
        inbox.replay(session, "notification")
    world.member("operator-1", "operator")
    with unit_of_work("notification") as session:
        assert inbox.handle_next(session, "notification")
    assert len(world.told("operator-1", kind="equipment_fault")) == 1


def test_entries_concern_the_member_alone(world: World) -> None:
    world.member("kim")
    phone = world.phone("kim")
    world.branch()
    world.entry("kim", granted=False, reason="membership_expired")
    world.entry("kim", granted=False, reason="something_new")
    world.entry("kim", granted=True, reason="granted")
    world.entry("kim", granted=True, reason="exit", method="exit")
    world.entry(None, granted=False, reason="no_match")
    # A gate that was cut off sends what happened hours ago.
    world.entry("kim", granted=False, reason="lockdown", at=(clock.now() - timedelta(hours=3)).isoformat())
    world.drain()
    bodies = [message["notification"]["body"] for message in world.pushed(phone)]
    assert bodies == ["이용권이 만료되었습니다. 앱에서 연장하세요.", "앱의 고객센터로 문의하세요."]
    assert len(world.told("kim", kind="access_denied")) == 3
    assert world.told("kim", kind="access_granted") == []


def test_entries_are_told_to_who_wants_them(world: World) -> None:
    world.member("kim", language="en")
    phone = world.phone("kim")
    world.branch()
    wanted = {"timezone": "Asia/Seoul", "kinds": {"access_granted": {"push": True}}}
    world.ok("PUT", "/preferences", "kim", json=wanted, headers={"If-Match": '"0"'})
    world.entry("kim", granted=True, reason="granted", at="2026-03-02T23:30:00+00:00")
    world.entry("kim", granted=True, reason="granted")
    world.drain()
    assert world.pushed_titles(phone) == ["Entry at Gangnam"]
    assert "08:30 on 3 March" in world.told("kim", kind="access_granted")[1]["body"]


def test_regulars_hear_what_a_branch_is_like_and_what_changes_there(world: World) -> None:
    for member_id in ("kim", "lee", "manager-1"):
        world.member(member_id)
    world.branch(manager_ids=["manager-1"])
    liked = {
        "branch_id": "gangnam", "traits": {"clean": 0.9, "night": 0.7, "quiet": 0.8}, "computed_at": clock.now().isoformat(),
        "member_ids": ["kim", "manager-1"],
    }  # fmt: skip
    world.deliver("branch.BranchPreferenceCreated", "gangnam", 1, liked)
    (item,) = world.told("kim", kind="for_you")
    assert item["body"] == "요즘 이 지점의 특징: 청결, 한산함."
    # The same again is no news; an old one is none either.
    world.deliver("branch.BranchPreferenceCreated", "gangnam", 2, {**liked, "member_ids": ["kim", "lee", "manager-1"]})
    world.deliver("branch.BranchPreferenceCreated", "gangnam", 1, {**liked, "traits": {"price": 1.0}})
    assert len(world.told("kim", kind="for_you")) == 1

    manager = {"manager_ids": ["manager-1"]}
    world.branch(version=2, description="새 소개", **manager)
    assert world.told("kim", kind="branch") == []
    world.branch(version=3, hours={"mon": [["06:00", "23:00"]]}, amenities=["sauna"], **manager)
    world.branch(version=4, status="closed", **manager)
    assert [item["body"] for item in world.told("lee", kind="branch")] == [
        "이용할 수 있는 다른 지점을 앱에서 찾아보세요.",
        "바뀐 내용: 운영 시간, 편의 시설. 방문 전에 확인하세요.",
    ]
    assert [item["title"] for item in world.told("manager-1", kind="branch")] == ["강남점 지점이 등록되었습니다"]


def test_managers_hear_when_they_come_and_go(world: World) -> None:
    for member_id in ("manager-1", "manager-2"):
        world.member(member_id, "branch_manager")
    world.branch(manager_ids=["manager-1"])
    world.branch(version=3, manager_ids=["manager-2"])
    world.branch(version=2, manager_ids=["manager-1", "manager-2"])
    assert world.titles("manager-1")[1:] == ["강남점 지점이 등록되었습니다", "강남점 담당에서 해제되었습니다"]
    assert world.titles("manager-2")[1:] == ["강남점 담당 관리자가 되었습니다"]


def test_helpers_hear_of_their_work(world: World) -> None:
    world.member("helper-1", "helper")
    task = {"task_id": "t1", "branch_id": "gangnam", "helper_id": "helper-1", "kind": "hanging"}
    judged = {**task, "confidence": 0.9, "model_version": None, "judged_at": clock.now().isoformat(), "photos": []}
    world.deliver("mlops.TaskJudged", "t1", 2, {**judged, "verdict": "done"})
    world.deliver("mlops.TaskJudged", "t2", 2, {**judged, "verdict": "not_done"})
    decided = {
        **task, "corrected": False, "label": "done", "photo_labels": [], "judged_verdict": "done", "model_version": None,
        "confirmed_by": "manager-1", "confirmed_at": clock.now().isoformat(),
    }  # fmt: skip
    for version, outcome in enumerate(("confirmed", "corrected", "redo"), 3):
        world.deliver("branch.TaskConfirmed", "t1", version, {**decided, "outcome": outcome})
    assert world.titles("helper-1")[1:] == [
        "AI 판정: 미완료", "작업이 확인되었습니다", "관리자가 판정을 바로잡았습니다", "작업을 다시 해 주세요",
    ]  # fmt: skip


def test_operators_hear_of_models(world: World) -> None:
    world.member("operator-1", "operator")
    world.member("kim")
    data = {
        "model": "laundry", "version": "2026.3", "previous_version": None, "metrics": {"accuracy": 0.92345, "ece": 0.021},
        "dataset": None, "by": "operator-1", "at": clock.now().isoformat(),
    }  # fmt: skip
    world.deliver("mlops.ModelTrained", "laundry", 1, data)
    world.deliver("mlops.ModelDeployed", "laundry", 2, {**data, "previous_version": "2026.2"})
    world.deliver("mlops.ModelRolledBack", "laundry", 3, {**data, "previous_version": "2026.2"})
    assert world.titles("operator-1")[1:] == [
        "모델 학습 완료: 세탁 판정 2026.3", "모델 배포: 세탁 판정 2026.3", "모델 되돌림: 세탁 판정 2026.3",
    ]  # fmt: skip
    assert "accuracy 0.923, ece 0.021" in world.told("operator-1")[1]["body"]
    held = {"model": "face", "version": None, "at_stage": "training", "subject_id": "t1", "reason": "검증 실패: 나빠짐"}
    world.deliver("mlops.ModelHeldBack", "face", 1, {**held, "at": clock.now().isoformat()})
    (body,) = [told["body"] for told in world.told("operator-1") if told["title"] == "모델 보류: 얼굴 인식"]
    assert body.startswith("검증 실패: 나빠짐")
    assert len(world.told("kim")) == 1


def test_an_erased_member_leaves_nothing(staffed: World) -> None:
    staffed.phone("manager-1")
    staffed.email("manager-1")
    fault = staffed.fault()
    staffed.deliver("branch.BranchPreferenceCreated", "gangnam", 1, {
        "branch_id": "gangnam", "traits": {}, "computed_at": clock.now().isoformat(), "member_ids": ["manager-1"],
    })  # fmt: skip
    for _ in range(2):
        staffed.deliver("auth.MemberErased", "manager-1", 2, {"member_id": "manager-1"})
    for table in ("notification", "delivery", "device", "email_address", "code_sent", "preference", "flood", "regular"):
        assert staffed.rows(f"SELECT 1 FROM {table} WHERE member_id = 'manager-1'") == [], table
    assert staffed.rows("SELECT manager_ids FROM branch")[0].manager_ids == []
    assert staffed.rows("SELECT told FROM alert")[0].told == []
    # Their token lives for a few minutes more; news of them may still be on the way.
    body = {"token": "x" * 30, "platform": "ios"}
    assert staffed.refused("POST", "/devices", "manager-1", json=body) == (403, "erased")
    assert staffed.refused("GET", "/preferences", "manager-1") == (403, "erased")
    staffed.branch(version=2, manager_ids=["manager-1"])
    staffed.member("manager-1")
    staffed.entry("manager-1", granted=False, reason="membership_none")
    staffed.recover(fault)
    staffed.drain()
    assert staffed.pushed() == []
    assert staffed.rows("SELECT 1 FROM notification WHERE member_id = 'manager-1'") == []
