"""The REST API of equipment, faults and maintenance, as managers and operators meet it."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import select

from platform_api.core.database import unit_of_work
from platform_api.core.events import Event
from platform_api.core.events.registry import handlers
from platform_api.core.models import AuditRecord, OutboxEvent
from platform_api.monitoring import recording
from platform_api.monitoring.states import HeartbeatMissed, Reported, Silent, Suspected
from tests import monitoring_world as world
from tests.monitoring_world import events, faults_of, state_of

Headers = dict[str, str]
NEW = {"branch_id": "gangnam", "name": "런닝머신 1", "kind": "treadmill", "echo_url": "https://127.0.0.1:9/echo"}
PROBATION = timedelta(seconds=60)


class Caller:
    """Somebody with a token."""

    def __init__(self, client: FlaskClient, headers: Headers) -> None:
        self.client, self.headers = client, headers

    def ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        answer = self.client.open(f"/monitoring/v1{path}", method=method, headers=headers, **options)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.content_type == "application/problem+json"
            assert answer.json is not None
            assert answer.json["detail"]
        self.answer = answer
        return answer.json

    def register(self, **fields: Any) -> Any:
        return self.ask("POST", "/equipment", 201, json={**NEW, **fields})


@pytest.fixture
def operator_calls(api: FlaskClient, operator: Headers) -> Caller:
    world.branch()
    world.branch("mapo")
    return Caller(api, operator)


@pytest.fixture
def manager(operator_calls: Caller, api: FlaskClient, token_for: Callable[..., Headers]) -> Caller:
    """Of gangnam alone."""
    return Caller(api, token_for("manager-1", "branch_manager", branch_ids=("gangnam",)))


def observe(equipment_id: str, *observations: Any) -> None:
    with unit_of_work("monitoring") as session:
        for observation in observations:
            recording.observe(session, [(equipment_id, observation)], datetime.now(UTC), PROBATION)


def hear(name: str, subject: str, version: int, data: dict[str, Any]) -> None:
    """An event arrives. Made by hand: its schema is another domain's."""
    event = Event(uuid4(), name, subject, version, datetime.now(UTC), data)
    with unit_of_work("monitoring") as session:
        for handler in handlers("monitoring", name):
            handler(session, event)


# --- equipment


def test_a_manager_registers_equipment_of_their_branch(manager: Caller) -> None:
    made = manager.register()
    assert (made["state"], made["severity"], made["heartbeat_interval_s"], made["key_id"]) == ("ok", "major", 600, None)
    assert manager.answer.headers["ETag"] == '"1"'
    seen = manager.ask("GET", f"/equipment/{made['equipment_id']}", 200)
    assert seen == made
    trail = manager.ask("GET", f"/equipment/{made['equipment_id']}/audit", 200)["items"]
    assert [(line["actor"], line["action"]) for line in trail] == [("manager-1", "equipment.register")]


def test_the_same_request_twice_registers_once(manager: Caller) -> None:
    key = {"Idempotency-Key": "k1"}
    first = manager.ask("POST", "/equipment", 201, json=NEW, headers=key)
    assert manager.ask("POST", "/equipment", 201, json=NEW, headers=key) == first
    assert manager.answer.headers["Idempotency-Replayed"] == "true"
    assert manager.ask("POST", "/equipment", 409, json=NEW)["code"] == "equipment_exists"


@pytest.mark.parametrize(
    ("change", "code"),
    [({"kind": "spaceship"}, "invalid"), ({"name": ""}, "invalid"), ({"name": "a\x00b"}, "invalid"), ({"name": "x" * 101}, "invalid"),
     ({"heartbeat_interval_s": 1}, "invalid"), ({"heartbeat_interval_s": "600"}, "invalid"), ({"severity": 3}, "invalid"),
     ({"shard": 1}, "invalid"), ({"echo_url": "http://127.0.0.1/"}, "url_invalid"), ({"echo_url": "https://8.8.8.8/"}, "address_not_allowed"),
     ({"echo_url": "https://169.254.169.254/latest"}, "address_not_allowed"), ({"branch_id": "../x"}, "invalid"), ({"branch_id": None}, "invalid")],
)  # fmt: skip
def test_bad_descriptions_are_refused(operator_calls: Caller, change: dict[str, Any], code: str) -> None:
    assert operator_calls.ask("POST", "/equipment", 422, json={**NEW, **change})["code"] == code
    assert operator_calls.ask("GET", "/equipment", 200)["items"] == []


def test_an_unknown_branch_is_told(operator_calls: Caller) -> None:
    assert operator_calls.ask("POST", "/equipment", 404, json={**NEW, "branch_id": "x"})["code"] == "branch_unknown"


def test_an_edit_needs_the_version_that_was_read(manager: Caller) -> None:
    path = f"/equipment/{manager.register()['equipment_id']}"
    manager.ask("PATCH", path, 428, json={"name": "b"})
    manager.ask("PATCH", path, 412, json={"name": "b"}, headers={"If-Match": '"7"'})
    changed = manager.ask("PATCH", path, 200, json={"name": "b", "echo_url": None}, headers={"If-Match": '"1"'})
    assert (changed["name"], changed["echo_url"], manager.answer.headers["ETag"]) == ("b", None, '"2"')
    manager.ask("PATCH", path, 412, json={"name": "c"}, headers={"If-Match": '"1"'})


def test_an_observed_change_of_state_leaves_the_etag_alone(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    observe(item, Silent(datetime.now(UTC), "timeout"))
    seen = manager.ask("GET", f"/equipment/{item}", 200)
    assert (seen["state"], seen["causes"][0]["reason"], manager.answer.headers["ETag"]) == ("fault", "no_echo", '"1"')


def test_an_item_that_is_asked_no_more_is_not_silent_any_more(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    observe(item, Silent(datetime.now(UTC), "timeout"))
    manager.ask("PATCH", f"/equipment/{item}", 200, json={"echo_url": None}, headers={"If-Match": '"1"'})
    assert faults_of(item)[0].resolution == "recovered"
    assert manager.ask("GET", f"/equipment/{item}", 200)["state"] == "recovered"


def test_a_key_is_shown_once_and_only_its_public_half_is_kept(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    issued = manager.ask("POST", f"/equipment/{item}/key", 201, json={})
    assert manager.answer.headers["Cache-Control"] == "no-store"
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(issued["private_key"]))
    assert base64.b64encode(private.public_key().public_bytes_raw()).decode() == issued["public_key"]
    assert state_of(item).heartbeat_due_at is not None
    own = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    again = manager.ask("POST", f"/equipment/{item}/key", 201, json={"public_key": own})
    assert (again["public_key"], again["private_key"]) == (own, None)
    assert again["key_id"] != issued["key_id"]
    for wrong in ("!", "AAAA", 5):
        manager.ask("POST", f"/equipment/{item}/key", 422, json={"public_key": wrong})
    with unit_of_work("monitoring") as session:
        rows = session.scalars(select(AuditRecord).where(AuditRecord.target == item)).all()
    assert issued["private_key"] not in str([row.details for row in rows])


def test_retired_equipment_keeps_its_history_and_frees_its_name(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    manager.ask("POST", f"/equipment/{item}/key", 201, json={})
    observe(item, Silent(datetime.now(UTC)))
    assert manager.ask("POST", f"/equipment/{item}/retire", 200)["retired_at"]
    assert manager.ask("POST", f"/equipment/{item}/retire", 200)["retired_at"]
    assert len(events("EquipmentRecovered")) == 1
    manager.ask("PATCH", f"/equipment/{item}", 409, json={"name": "b"}, headers={"If-Match": "*"})
    manager.ask("POST", f"/equipment/{item}/key", 409, json={})
    manager.register()
    assert len(manager.ask("GET", "/equipment", 200)["items"]) == 1
    assert len(manager.ask("GET", "/equipment?retired=true", 200)["items"]) == 2
    assert manager.ask("GET", f"/equipment/{item}/history", 200)["items"][0]["state"] == "fault"


def test_lists_come_in_pages_and_by_what_is_asked(operator_calls: Caller) -> None:
    for number in range(5):
        operator_calls.register(name=f"t{number}", kind="bike" if number == 3 else "treadmill")
    seen, cursor = [], ""
    while cursor is not None:
        page = operator_calls.ask("GET", f"/equipment?limit=2&cursor={cursor}", 200)
        seen += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [f"t{number}" for number in range(5)]
    assert [item["name"] for item in operator_calls.ask("GET", "/equipment?kind=bike", 200)["items"]] == ["t3"]
    assert operator_calls.ask("GET", "/equipment?state=fault", 200)["items"] == []
    operator_calls.ask("GET", "/equipment?cursor=x", 400)
    operator_calls.ask("GET", "/equipment?limit=1000", 422)


# --- who may


def test_another_branchs_objects_are_as_if_they_were_not_there(
    operator_calls: Caller, manager: Caller, api: FlaskClient, token_for: Callable[..., Headers]
) -> None:
    item = operator_calls.register(branch_id="mapo")["equipment_id"]
    observe(item, Silent(datetime.now(UTC)))
    fault = faults_of(item)[0].fault_id
    wanted = {"branch_id": "mapo", "ends_at": _later(1), "reason": "x"}
    window = operator_calls.ask("POST", "/maintenance-windows", 201, json=wanted)
    for method, path, body in (
        ("GET", f"/equipment/{item}", None),
        ("PATCH", f"/equipment/{item}", {"name": "mine"}),
        ("POST", f"/equipment/{item}/key", {}),
        ("POST", f"/equipment/{item}/retire", None),
        ("GET", f"/equipment/{item}/history", None),
        ("GET", f"/equipment/{item}/audit", None),
        ("GET", f"/faults/{fault}", None),
        ("POST", f"/faults/{fault}/acknowledge", {}),
        ("GET", f"/maintenance-windows/{window['window_id']}", None),
        ("PATCH", f"/maintenance-windows/{window['window_id']}", {"reason": "y"}),
        ("POST", f"/maintenance-windows/{window['window_id']}/end", None),
        ("POST", "/maintenance-windows", {"equipment_id": item, "ends_at": _later(1), "reason": "x"}),
    ):
        manager.ask(method, path, 404, json=body, headers={"If-Match": "*"})
    for path in (
        "/equipment",
        "/faults",
        "/maintenance-windows",
        "/equipment?branch_id=mapo",
        "/overview?branch_id=mapo",
    ):
        assert manager.ask("GET", path, 200)["items"] == []
    manager.ask("POST", "/equipment", 403, json={**NEW, "branch_id": "mapo"})
    manager.ask("POST", "/maintenance-windows", 403, json=wanted)
    for role in ("customer", "helper", "device", "service"):
        Caller(api, token_for("somebody", role)).ask("GET", "/equipment", 403)
    Caller(api, {}).ask("GET", "/equipment", 401)


# --- faults


def test_a_fault_is_told_once_and_acknowledged_by_the_first_who_says_so(
    operator_calls: Caller, manager: Caller
) -> None:
    item = manager.register(severity="critical")["equipment_id"]
    since = datetime.now(UTC) - timedelta(seconds=4)
    observe(item, Suspected(since), Silent(since, "timeout"), Silent(since, "timeout"), HeartbeatMissed(since))
    (told,) = events("EquipmentFault")
    assert {**told, "detected_at": None, "fault_id": None} == {
        "fault_id": None, "equipment_id": item, "branch_id": "gangnam", "name": NEW["name"], "kind": "treadmill",
        "reason": "no_echo", "severity": "critical", "since": since.isoformat(), "detected_at": None,
    }  # fmt: skip
    (fault,) = manager.ask("GET", "/faults?open=true&acknowledged=false", 200)["items"]
    path = f"/faults/{fault['fault_id']}/acknowledge"
    seen = manager.ask("POST", path, 200, json={"note": "확인 중"})
    assert (seen["acknowledged_by"], seen["note"]) == ("manager-1", "확인 중")
    assert operator_calls.ask("POST", path, 200, json={})["acknowledged_by"] == "manager-1"
    (heard,) = events("FaultAcknowledged")
    assert (heard["fault_id"], heard["by"]) == (fault["fault_id"], "manager-1")
    with unit_of_work("monitoring") as session:
        versions = [
            row.envelope["sequence"] for row in session.scalars(select(OutboxEvent).order_by(OutboxEvent.position))
        ]
    assert versions == ["1", "2"]
    assert manager.ask("GET", "/faults?acknowledged=false", 200)["items"] == []


def test_a_fault_that_is_over_cannot_be_acknowledged(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    observe(item, Silent(datetime.now(UTC)))
    manager.ask("POST", f"/equipment/{item}/retire", 200)
    fault = faults_of(item)[0].fault_id
    assert manager.ask("POST", f"/faults/{fault}/acknowledge", 409, json={})["code"] == "fault_closed"


def test_the_overview_counts_what_there_is(operator_calls: Caller, manager: Caller) -> None:
    items = [manager.register(name=f"t{number}")["equipment_id"] for number in range(3)]
    observe(items[0], Silent(datetime.now(UTC)))
    observe(items[1], Reported(datetime.now(UTC), "critical", "E1"))
    manager.ask("POST", f"/faults/{faults_of(items[0])[0].fault_id}/acknowledge", 200, json={})
    (mine,) = manager.ask("GET", "/overview", 200)["items"]
    assert (mine["equipment"], mine["by_state"]["fault"], mine["by_state"]["ok"]) == (3, 2, 1)
    assert (mine["open_faults"], mine["unacknowledged"], mine["critical"]) == (2, 1, 1)
    assert [row["branch_id"] for row in operator_calls.ask("GET", "/overview", 200)["items"]] == ["gangnam", "mapo"]


# --- maintenance


def _later(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def test_a_window_of_a_branch_holds_for_its_items(manager: Caller) -> None:
    item = manager.register()["equipment_id"]
    window = manager.ask(
        "POST", "/maintenance-windows", 201, json={"branch_id": "gangnam", "ends_at": _later(1), "reason": "정전 점검"}
    )
    observe(item, Silent(datetime.now(UTC)))
    assert (state_of(item).state, events()) == ("maintenance", [])
    path = f"/maintenance-windows/{window['window_id']}"
    manager.ask("PATCH", path, 428, json={"ends_at": _later(2)})
    manager.ask("PATCH", path, 200, json={"ends_at": _later(2)}, headers={"If-Match": '"1"'})
    manager.ask("PATCH", path, 412, json={"ends_at": _later(3)}, headers={"If-Match": '"1"'})
    manager.ask("POST", f"{path}/end", 200)
    assert state_of(item).state == "fault"
    assert len(events("EquipmentFault")) == 1
    assert manager.ask("GET", "/maintenance-windows", 200)["items"] == []
    assert len(manager.ask("GET", "/maintenance-windows?past=true", 200)["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [{"ends_at": "2099-01-01T00:00:00Z"}, {"ends_at": "2020-01-01T00:00:00Z"}, {"ends_at": "2026-01-01T00:00:00"}, {"ends_at": "soon"},
     {"ends_at": "9999-12-31T23:59:59-12:00"}, {"branch_id": None}, {"reason": ""}, {"starts_at": "2098-01-01T00:00:00Z", "ends_at": "2097-01-01T00:00:00Z"}],
)  # fmt: skip
def test_windows_that_make_no_sense_are_refused(manager: Caller, body: dict[str, Any]) -> None:
    given = {"branch_id": "gangnam", "ends_at": _later(1), "reason": "x", **body}
    manager.ask("POST", "/maintenance-windows", 422, json=given)


# --- events heard


def test_branches_are_kept_by_version(operator_calls: Caller) -> None:
    def branch(version: int, name: str, status: str = "open") -> None:
        data = {"branch_id": "jamsil", "name": name, "timezone": "Asia/Seoul", "status": status}
        hear("branch.BranchInfoCreated" if version == 1 else "branch.BranchInfoChanged", "jamsil", version, data)

    branch(2, "잠실점")
    branch(1, "잠실")
    assert operator_calls.ask("GET", "/overview?branch_id=jamsil", 200)["items"][0]["name"] == "잠실점"
    item = operator_calls.register(branch_id="jamsil")["equipment_id"]
    branch(3, "잠실점", "closed")
    observe(item, Silent(datetime.now(UTC)))
    assert events("EquipmentFault") == []


def test_changes_of_models_are_shown_to_operators(operator_calls: Caller, manager: Caller) -> None:
    data = {"model": "laundry", "version": "7", "previous_version": "6", "metrics": {"accuracy": 0.93}, "dataset": None, "by": "operator-1"}  # fmt: skip
    hear("mlops.ModelDeployed", "laundry", 1, {**data, "at": "2026-01-01T00:00:00+00:00"})
    hear("mlops.ModelRolledBack", "laundry", 2, {**data, "at": "2026-01-02T00:00:00+00:00"})
    shown = operator_calls.ask("GET", "/model-changes?model=laundry", 200)["items"]
    assert [(row["change"], row["model_version"]) for row in shown] == [("rolled_back", "7"), ("deployed", "7")]
    manager.ask("GET", "/model-changes", 403)
