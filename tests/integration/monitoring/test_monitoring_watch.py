"""What the processes do with equipment that breaks: real TLS, real lines, a real database, seconds for minutes."""

from datetime import UTC, datetime, timedelta

import pytest

from platform_api.core.database import unit_of_work
from platform_api.monitoring import maintenance, registry
from platform_api.monitoring.models import StateChange
from tests import monitoring_world as world
from tests.monitoring_world import OPERATOR, Made, Plant, events, faults_of, state_of
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def fleet(plant: Plant) -> list[Made]:
    """Twenty items that answer."""
    world.branch()
    made = world.register(20, plant.echo_base)
    plant.simulate(made)
    wait_for(lambda: all(state_of(item.equipment_id).last_echo_at for item in made), 60)
    return made


KINDS = {
    "silent": "timeout",
    "cut": "",
    "error": "status_500",
    "garbage": "not_json",
    "stale": "wrong_nonce",
    "slow": "timeout",
}


def test_each_way_of_not_answering_is_one_fault_and_ends_when_mended(plant: Plant, fleet: list[Made]) -> None:
    broken = {kind: item.equipment_id for kind, item in zip(KINDS, fleet, strict=False)}
    when = {kind: plant.damage(kind, item) for kind, item in broken.items()}
    for kind, item in broken.items():
        (fault,) = wait_for(lambda item=item: faults_of(item))
        assert (fault.reason, fault.severity, fault.closed_at) == ("no_echo", "major", None)
        assert fault.detail == KINDS[kind] or kind == "cut"
        assert when[kind] <= fault.since <= fault.detected_at
        assert state_of(item).state == "fault"
    plant.damage(None, *broken.values())
    for item in broken.values():
        wait_for(lambda item=item: state_of(item).state in ("recovered", "ok"))
        (fault,) = faults_of(item)
        assert fault.resolution == "recovered"
    names = ("EquipmentFault", "EquipmentRecovered")
    for item in broken.values():
        wait_for(lambda item=item: state_of(item).state == "ok")
        assert [name for name in names for event in events(name) if event["equipment_id"] == item] == list(names)
        with unit_of_work("monitoring") as session:
            lines = session.query(StateChange).filter_by(equipment_id=item).order_by(StateChange.position).all()
        assert [line.state for line in lines] == ["suspect", "fault", "recovered", "ok"]
        assert lines[1].fault_id == faults_of(item)[0].fault_id


def test_reported_trouble_is_a_fault_at_once_while_the_echo_goes_on(plant: Plant, fleet: list[Made]) -> None:
    item = fleet[6].equipment_id
    plant.damage("trouble", item, severity="critical")
    (fault,) = wait_for(lambda: faults_of(item), 10)
    assert (fault.reason, fault.severity, fault.detail) == ("reported", "critical", "E01 sandbox")
    assert state_of(item).last_heartbeat_at is not None
    plant.damage(None, item)
    wait_for(lambda: faults_of(item)[0].resolution == "recovered", 10)


def test_a_missed_heartbeat_is_a_fault_and_a_late_line_ends_it(plant: Plant) -> None:
    world.branch()
    (made,) = world.register(1, None, interval_s=2)
    plant.simulate([made], heartbeat_s=1.0)
    wait_for(lambda: state_of(made.equipment_id).last_heartbeat_at)
    plant.damage("no_heartbeat", made.equipment_id)
    (fault,) = wait_for(lambda: faults_of(made.equipment_id), 15)
    assert fault.reason == "no_heartbeat"
    assert fault.detected_at - fault.since >= timedelta(seconds=3)
    plant.damage(None, made.equipment_id)
    wait_for(lambda: state_of(made.equipment_id).state in ("recovered", "ok"))


def test_maintenance_keeps_still_and_what_lasts_is_told_when_it_ends(plant: Plant, fleet: list[Made]) -> None:
    item, now = fleet[7].equipment_id, datetime.now(UTC)
    fields = {"equipment_id": item, "starts_at": now, "ends_at": now + timedelta(hours=1), "reason": "새 벨트"}
    with unit_of_work("monitoring") as session:
        window = maintenance.plan(session, OPERATOR, fields)
    assert state_of(item).state == "maintenance"
    plant.damage("silent", item)
    wait_for(lambda: "no_echo" in state_of(item).causes)
    assert faults_of(item) == []
    with unit_of_work("monitoring") as session:
        maintenance.end(session, OPERATOR, window.window_id)
    (fault,) = faults_of(item)
    assert fault.reason == "no_echo"
    plant.damage(None, item)
    wait_for(lambda: state_of(item).state in ("recovered", "ok"))


def test_a_window_that_runs_out_by_itself_is_noticed(plant: Plant, fleet: list[Made]) -> None:
    item, now = fleet[8].equipment_id, datetime.now(UTC)
    fields = {"equipment_id": item, "starts_at": now, "ends_at": now + timedelta(seconds=1), "reason": "청소"}
    with unit_of_work("monitoring") as session:
        maintenance.plan(session, OPERATOR, fields)
    assert state_of(item).state == "maintenance"
    wait_for(lambda: state_of(item).state == "ok")


def test_equipment_of_a_branch_that_is_not_open_raises_no_alert(plant: Plant) -> None:
    world.branch("preparing", status="preparing")
    made = world.register(1, plant.echo_base, "preparing")
    item = made[0].equipment_id
    wait_for(lambda: state_of(item).state == "maintenance")
    wait_for(lambda: "no_echo" in state_of(item).causes)
    assert faults_of(item) == []


def test_retired_equipment_is_asked_no_more_and_its_fault_ends(plant: Plant, fleet: list[Made]) -> None:
    item = fleet[9].equipment_id
    plant.damage("silent", item)
    wait_for(lambda: faults_of(item))
    with unit_of_work("monitoring") as session:
        registry.retire(session, OPERATOR, item)
    assert faults_of(item)[0].resolution == "retired"
    assert [event for event in events("EquipmentRecovered") if event["equipment_id"] == item]


def test_an_address_outside_the_allowed_networks_is_never_asked(plant: Plant) -> None:
    """Written past the check of the API, as a changed setting would leave it."""
    world.branch()
    made = world.register(1, "https://10.255.255.1")
    (fault,) = wait_for(lambda: faults_of(made[0].equipment_id))
    assert fault.detail == "address_not_allowed"


def test_no_item_that_was_left_alone_had_a_fault(plant: Plant, fleet: list[Made]) -> None:
    assert [faults_of(item.equipment_id) for item in fleet[10:]] == [[]] * 10
    assert "Traceback" not in plant.log("prober")
    assert "Traceback" not in plant.log("heartbeat")
