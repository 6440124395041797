"""The daily audit as Dagster runs it: trails made by the API of the whole platform, read as mlops_reader, told to operators.

A trail is made now and moved to a day of its own, as far from the others as a history is long: each test has its own quiet world.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from dagster_project.values import JsonValues
from data_assets.audit import assets
from data_assets.audit.trail import ZONE
from data_assets.failures import PermanentFailure
from data_assets.platform import Platform
from data_assets.reading import DOMAINS, Reader
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.worker import seal_trail
from platform_api.core.models import OutboxEvent
from platform_api.core.security.audit import record
from platform_api.core.storage import ObjectStore
from platform_api.mlops import jobs
from platform_api.notification import members
from platform_api.notification.models import Notification
from tests.audit_world import superuser
from tests.contract_values import PASSWORD, picture, public_key
from tests.contract_world import Headers, Standing, World, settle
from tests.learning_world import metadata, object_store, outcomes, served

APART = timedelta(days=40)


@pytest.fixture(scope="module")
def world(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # What locks an account has tests of its own.
    free = {"LOGIN_FAILURES_FREE": "100", "LOGIN_ADDRESS_FAILURES_FREE": "1000"}
    with standing(tmp_path_factory.mktemp("audited"), **free) as made:
        yield made


@pytest.fixture(scope="module")
def platform(world: World, token_for: Callable[..., Headers]) -> Iterator[Platform]:
    with served(world.app, token_for) as made:
        yield made


@pytest.fixture(scope="module")
def reader(postgres: Any) -> Iterator[Reader]:
    made = Reader(
        {
            domain: make_url(postgres.urls[domain])
            .set(username="mlops_reader", password=postgres.reader_password)
            .render_as_string(False)
            for domain in DOMAINS
        }
    )
    yield made
    made.close()


class Scene:
    """A test's own day, and what is done on it."""

    number = 0

    def __init__(self, world: World, postgres: Any, platform: Platform, reader: Reader, store: ObjectStore) -> None:
        Scene.number += 1
        self.world, self.postgres, self.platform, self.reader, self.store = world, postgres, platform, reader, store
        self.day: date = (clock.now().astimezone(ZONE) - timedelta(days=1) - Scene.number * APART).date()

    @contextmanager
    def on(self, days_before: int = 0, hour: int = 14) -> Iterator[None]:
        """What is done within is done on that day at that hour."""
        began = clock.now()
        yield
        at = datetime.combine(self.day - timedelta(days=days_before), time(hour), ZONE)
        for domain in DOMAINS:
            with superuser(self.postgres, domain) as cursor:
                cursor.execute("UPDATE audit_log SET at = at - (%s - %s) WHERE at >= %s", (began, at, began))

    def run(self, *days: date, only: bool = True) -> dg.ExecuteInProcessResult:
        """Run the day, or a backfill over days; the chains as well unless only the days are wanted."""
        first, last = (min(days), max(days)) if days else (self.day, self.day)
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        return dg.materialize(
            [assets.daily_findings] if only else [*assets.ASSETS, *assets.CHECKS],
            resources=self._resources(),
            raise_on_error=False,
            **({"partition_key": str(first)} if first == last else {"tags": tags}),
        )

    def verify(self) -> dg.ExecuteInProcessResult:
        """The chains alone."""
        return dg.materialize([assets.trail_chains, *assets.CHECKS], resources=self._resources(), raise_on_error=False)

    def _resources(self) -> dict[str, Any]:
        values = JsonValues(self.store)
        return {"platform": self.platform, "store": self.store, "reader": self.reader, "io_manager": values}

    def found(self) -> list[dict[str, Any]]:
        """What the report of the day says, after a run."""
        result = self.run()
        assert result.success, result.all_events
        return json.loads(self.report())["findings"]  # type: ignore[no-any-return]

    def kinds(self) -> list[str]:
        return sorted({each["kind"] for each in self.found()})

    def report(self) -> bytes:
        return self.store.get(f"{assets.FOLDER}/day={self.day}.json", sealed=True)

    def shown(self) -> dict[str, Any]:
        """As an operator sees it."""
        return self.world.call("operator", "GET", f"/mlops/v1/audits/{self.day}")  # type: ignore[no-any-return]

    def login(self, email: str, password: str = PASSWORD) -> Any:
        return self.world.client.post("/auth/v1/tokens", json={"email": email, "password": password})

    def history(self, actor: str, days: int, objects: int, hour: int = 14, action: str = "membership.change") -> None:
        """What `actor` did on earlier days, by the service that writes the trail."""
        for day in range(1, days + 1):
            with self.on(day, hour), unit_of_work("access") as session:
                for _ in range(objects):
                    record(session, actor, action, str(uuid.uuid4()), {"branch_id": "gangnam"})


@pytest.fixture
def scene(world: World, postgres: Any, platform: Platform, reader: Reader, tmp_path: Path, keys: Any) -> Scene:
    return Scene(world, postgres, platform, reader, object_store(tmp_path / "store", keys.keyring_file))


def events(name: str) -> int:
    with unit_of_work("mlops") as session:
        query = (
            select(func.count())
            .select_from(OutboxEvent)
            .where(OutboxEvent.type == "mlops.AuditFindings", OutboxEvent.envelope["data"]["name"].astext == name)
        )
        return session.scalar(query) or 0


# --- logins


def test_an_ordinary_day_gives_no_findings(scene: Scene) -> None:
    with scene.on():
        assert scene.login("contract0@example.com", "wrong-word").status_code == 401
        assert scene.login("contract0@example.com").status_code == 200
        body = {
            "member_id": scene.world.people["customer"], "plan": "monthly", "branch_ids": ["gangnam"],
            "valid_from": "2020-01-01", "valid_until": "2020-02-01",
        }  # fmt: skip
        scene.world.call("operator", "POST", "/access/v1/memberships", json=body)
    assert scene.found() == []
    assert "Nothing unusual" in metadata(scene.run(), assets.FINDINGS)["report"]
    assert events(str(scene.day)) == 0
    assert json.loads(scene.report())["acts"]["auth"] == 2


def test_a_burst_of_failures_and_a_success_after_it_are_found(scene: Scene) -> None:
    with scene.on():
        for _ in range(6):
            scene.login("contract0@example.com", "wrong-word")
        assert scene.login("contract0@example.com").status_code == 200
    found = {each["kind"]: each for each in scene.found()}
    assert set(found) == {"login_burst", "login_after_failures"}
    assert found["login_burst"]["figures"] == {"failures": 6, "most_within_10_min": 6}
    assert found["login_after_failures"]["severity"] == "critical"
    # Members are pseudonyms in the report, and told by their id to an operator alone.
    customer = scene.world.people["customer"]
    assert customer not in scene.report().decode()
    assert {each["subject_id"] for each in scene.shown()["findings"]} == {customer}


def test_one_network_that_tries_many_accounts_is_found_and_its_address_told(scene: Scene) -> None:
    with scene.on():
        for number in range(3):
            scene.login(f"contract{number}@example.com", "wrong-word")
        for number in range(3):
            scene.login(f"nobody{number}@example.com", "wrong-word")
    (found,) = scene.found()
    assert (found["kind"], found["severity"]) == ("login_spray", "critical")
    assert found["figures"] == {"failures": 6, "accounts": 3, "unknown": 3}
    assert "127.0.0.1" not in scene.report().decode()
    assert scene.shown()["findings"][0]["subject_id"] == "127.0.0.1"


def test_a_token_that_is_used_twice_is_found(scene: Scene) -> None:
    with scene.on():
        token = scene.login("contract0@example.com").json["refresh_token"]
        statuses = [
            scene.world.client.post("/auth/v1/tokens/refresh", json={"refresh_token": token}).status_code
            for _ in range(2)
        ]
    assert statuses == [200, 401]
    assert scene.kinds() == ["token_reused"]


# --- unusual access


def test_unusual_is_measured_by_ones_own_history(scene: Scene) -> None:
    busy, calm = str(uuid.uuid4()), str(uuid.uuid4())
    scene.history(busy, days=10, objects=35)
    scene.history(calm, days=10, objects=4)
    with scene.on(), unit_of_work("access") as session:
        for actor in (busy, calm):
            for _ in range(40):
                record(session, actor, "membership.change", str(uuid.uuid4()), {"branch_id": "gangnam"})
    (found,) = scene.found()
    assert (found["kind"], found["figures"]["objects"], found["figures"]["usual"]) == ("unusual_volume", 40, 4)
    assert scene.shown()["findings"][0]["subject_id"] == calm


def test_acts_at_hours_at_which_somebody_never_works_are_found(scene: Scene) -> None:
    day_worker, night_worker = str(uuid.uuid4()), str(uuid.uuid4())
    scene.history(day_worker, days=10, objects=8, hour=14)
    scene.history(night_worker, days=10, objects=8, hour=3)
    with scene.on(hour=3), unit_of_work("access") as session:
        for actor in (day_worker, night_worker):
            for _ in range(4):
                record(session, actor, "membership.change", str(uuid.uuid4()), {"branch_id": "gangnam"})
    (found,) = scene.found()
    assert (found["kind"], found["figures"]["hours"], found["figures"]["acts"]) == ("odd_hours", [3], 4)
    assert scene.shown()["findings"][0]["subject_id"] == day_worker


def test_mass_viewing_of_frames_of_strangers_is_found_and_a_look_at_a_few_is_not(scene: Scene) -> None:
    world, gate_id = scene.world, scene.world.ids["access"]["gate_id"][0]
    frames = []
    for _ in range(25):
        at = (clock.now() - timedelta(seconds=1)).isoformat()
        entry = {
            "entry_id": str(uuid.uuid4()), "gate_id": gate_id, "at": at, "method": "face", "direction": "in",
            "outcome": "denied", "reason": "no_match", "member_id": None,
        }  # fmt: skip
        world.call("device", "POST", "/access/v1/edge/entries", json={"entries": [entry]})
        about = {"entry_id": entry["entry_id"], "gate_id": gate_id, "at": at}
        kept = world.call(
            "device",
            "POST",
            "/access/v1/edge/strangers",
            query_string=about,
            data=picture(1),
            content_type="image/jpeg",
        )
        frames.append(kept["stranger_id"])

    def look(role: str, number: int) -> None:
        for frame in frames[:number]:
            path = f"/access/v1/strangers/{frame}/photo"
            assert world.client.get(path, headers=world.headers(role)).status_code == 200

    with scene.on():
        look("branch_manager", 25)
        look("operator", 5)
    (found,) = scene.found()
    assert (found["kind"], found["severity"], found["figures"]["frames"]) == ("mass_viewing", "critical", 25)
    assert scene.shown()["findings"][0]["subject_id"] == world.people["branch_manager"]


# --- what is told whenever it happens


def test_every_emergency_opening_and_lockdown_is_told_with_who_where_and_how_long(scene: Scene) -> None:
    def mode(value: str) -> None:
        path = "/access/v1/branches/gangnam/mode"
        scene.world.call("operator", "POST", path, json={"mode": value, "reason": "소방 점검"})

    with scene.on(1, 23):
        mode("lockdown")
    with scene.on(0, 1):
        mode("normal")
    with scene.on(0, 9):
        mode("emergency_open")
    with scene.on(0, 10):
        mode("normal")
    with scene.on(0, 20):
        mode("lockdown")
    found = [(each["kind"], each["figures"]["minutes"], each["figures"]["ended"]) for each in scene.found()]
    assert found == [("emergency_open", 60, True), ("lockdown", 240, False), ("lockdown_ended", 120, True)]
    told = scene.shown()["findings"]
    assert {each["actor_id"] for each in told} == {scene.world.people["operator"]}
    assert {each["figures"]["branch_id"] for each in told} == {"gangnam"}
    assert "소방" not in scene.report().decode()
    mode("normal")


def test_changes_of_roles_and_new_devices_are_told(scene: Scene) -> None:
    member = scene.world.spare["auth"]["member_id"][0]
    with scene.on():
        for wanted in (["operator"], ["customer"]):
            body = {"roles": wanted, "branch_ids": []}
            scene.world.call("operator", "PUT", f"/auth/v1/members/{member}/roles", json=body)
        body = {"branch_id": "gangnam", "name": f"node {scene.day}", "public_key": public_key()}
        node = scene.world.call("operator", "POST", "/access/v1/edges", json=body)["edge_id"]
        body = {"branch_id": "gangnam", "name": "bicycle", "kind": "treadmill"}
        scene.world.call("operator", "POST", "/monitoring/v1/equipment", json=body)
    found = scene.found()
    roles = [(each["severity"], each["figures"]["gained"]) for each in found if each["kind"] == "role_change"]
    assert sorted(roles) == [("critical", ["operator"]), ("warning", ["customer"])]
    devices = {(each["figures"]["action"], each["severity"]) for each in found if each["kind"] == "device"}
    assert devices == {("edge.register", "warning"), ("equipment.register", "info")}
    assert node in {each["subject"] for each in found}


# --- running it


def test_a_day_that_is_run_again_says_the_same_and_nobody_is_told_twice(scene: Scene) -> None:
    with scene.on():
        for _ in range(6):
            scene.login("contract1@example.com", "wrong-word")
    scene.found()
    before, revision = scene.report(), scene.shown()["revision"]
    assert events(str(scene.day)) == 1
    # What happens on other days does not change it either.
    for _ in range(6):
        scene.login("contract1@example.com", "wrong-word")
    assert scene.run().success
    assert scene.report() == before
    assert scene.shown()["revision"] == revision
    assert events(str(scene.day)) == 1


def test_operators_hear_of_findings_and_nobody_else_does(scene: Scene) -> None:
    with scene.on():
        for _ in range(6):
            scene.login("contract2@example.com", "wrong-word")
    scene.run()
    settle()
    with unit_of_work("notification") as session:
        told = select(Notification).where(Notification.kind == "security")
        mine = [row for row in session.scalars(told) if row.data == {"audit": str(scene.day)}]
        assert sorted(row.member_id for row in mine) == sorted(members.operators(session))
        assert scene.world.people["operator"] in {row.member_id for row in mine}
        assert "로그인 연속 실패" in mine[0].body
    for role in ("customer", "helper", "branch_manager", "service"):
        for path in ("/mlops/v1/audits", f"/mlops/v1/audits/{scene.day}"):
            assert scene.world.client.get(path, headers=scene.world.headers(role)).status_code == 403
    body = {"findings": [], "counts": {"critical": 0, "warning": 0, "info": 0}}
    for role in ("customer", "operator"):
        path = f"/mlops/v1/audits/{scene.day}"
        assert scene.world.client.put(path, json=body, headers=scene.world.headers(role)).status_code == 403


def test_a_backfill_gives_each_day_its_own_report(scene: Scene) -> None:
    earlier = scene.day - timedelta(days=1)
    for days_before, email in ((1, "contract1@example.com"), (0, "contract2@example.com")):
        with scene.on(days_before):
            for _ in range(6):
                scene.login(email, "wrong-word")
    result = scene.run(earlier, scene.day)
    assert result.success
    assert len(result.asset_materializations_for_node("audit__findings")) == 2
    subjects = set()
    for day in (earlier, scene.day):
        (found,) = json.loads(scene.store.get(f"{assets.FOLDER}/day={day}.json", sealed=True))["findings"]
        subjects.add(found["subject"])
    assert len(subjects) == 2


def test_a_missing_setting_is_named(scene: Scene, postgres: Any) -> None:
    only_auth = Reader({"auth": postgres.urls["auth"]})
    with pytest.raises(PermanentFailure, match="SMARTFIT_ACCESS_READER_URL"):
        list(only_auth.rows("access", "SELECT 1"))
    only_auth.close()


def test_reports_go_after_their_time(scene: Scene) -> None:
    scene.found()

    def status() -> int:
        path = f"/mlops/v1/audits/{scene.day}"
        return scene.world.client.get(path, headers=scene.world.headers("operator")).status_code

    with clock.travel(timedelta(days=1094)):
        jobs.forget()
    assert status() == 200
    with clock.travel(timedelta(days=1096)):
        jobs.forget()
    assert status() == 404


# --- the chains


def seal_all() -> None:
    for domain in DOMAINS:
        seal_trail(domain)


def test_whole_chains_pass_and_a_broken_one_fails_loudly_and_operators_hear(scene: Scene) -> None:
    for domain in DOMAINS:
        # Rows that tests have moved after they were sealed are sealed anew.
        with superuser(scene.postgres, domain) as cursor:
            cursor.execute("TRUNCATE audit_seal")
    seal_all()
    result = scene.verify()
    assert result.success
    assert outcomes(result) == {"chains_are_whole": True}
    assert metadata(result, assets.CHAIN)["breaks"] == 0
    with superuser(scene.postgres, "access") as cursor:
        cursor.execute("UPDATE audit_log SET actor = 'nobody' WHERE position = (SELECT min(position) FROM audit_log)")
    before = events("chain")
    result = scene.verify()
    assert outcomes(result) == {"chains_are_whole": False}
    assert not result.success
    shown = scene.world.call("operator", "GET", "/mlops/v1/audits/chain")
    assert [each["figures"]["what"] for each in shown["findings"]] == ["changed"]
    assert events("chain") == before + 1
    scene.verify()
    assert events("chain") == before + 1


def test_a_chain_computed_anew_shows_against_the_heads_kept_outside(scene: Scene) -> None:
    seal_all()
    scene.verify()
    for domain in DOMAINS:
        with superuser(scene.postgres, domain) as cursor:
            cursor.execute("TRUNCATE audit_seal")
            if domain == "auth":
                cursor.execute(
                    "UPDATE audit_log SET target = 'x' WHERE position = (SELECT min(position) FROM audit_log)"
                )
    seal_all()
    scene.verify()
    shown = scene.world.call("operator", "GET", "/mlops/v1/audits/chain")
    assert ("auth", "rewritten") in {(each["figures"]["domain"], each["figures"]["what"]) for each in shown["findings"]}


def test_the_reader_sees_the_views_and_nothing_behind_them(postgres: Any) -> None:
    for domain in DOMAINS:
        url = make_url(postgres.urls[domain])
        place = {"host": url.host, "port": url.port, "dbname": url.database, "user": "mlops_reader"}
        with psycopg2.connect(**place, password=postgres.reader_password) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM audit_trail")
            for table in ("audit_log", "audit_seal", "outbox"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(f"SELECT * FROM {table}")
                connection.rollback()
        connection.close()
