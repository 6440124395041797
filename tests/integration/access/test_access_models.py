"""Face models as the centre keeps them: staged, live, former, retired; told to the edges, fetched by them, reported on."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from ml_bentos import registry
from ml_bentos.face.gallery import probe_factor
from platform_api.access import face_models, strangers
from platform_api.access.models import Enrolment, Model, TemplateRow
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event
from platform_api.core.events.registry import handlers
from platform_api.core.models import OutboxEvent
from tests.face_versions import keys_file, packed

NOW, NEXT = "test-model-1", "test-model-2"
PACKAGE = bytes(range(256)) * 5000


def say(name: str, number: int, **data: Any) -> None:
    """An event of mlops on the face model, as the worker delivers it."""
    common = {"model": "face", "version": NEXT, "at": datetime.now(UTC).isoformat()}
    event = Event.new(f"mlops.{name}", "face", number, common | data)
    with unit_of_work("access") as session:
        for handler in handlers("access", event.type):
            handler(session, event)


def staged(number: int, stage: str = "candidate", version: str = NEXT, **data: Any) -> None:
    defaults = {
        "version": version, "stage": stage, "live_version": NOW, "deployment_id": "d-1", "place": None, "archive": None,
        "thresholds": None,
    }  # fmt: skip
    say("ModelStaged", number, **defaults | data)


def deployed(number: int, version: str = NEXT, previous: str = NOW, back: bool = False) -> None:
    data = {"version": version, "previous_version": previous, "metrics": {}, "dataset": None, "by": "system"}
    say("ModelRolledBack" if back else "ModelDeployed", number, **data)


def stages() -> dict[str, str]:
    with unit_of_work("access") as session:
        return dict(session.execute(select(Model.version, Model.stage)).all())


def models(node: Any) -> dict[str, dict[str, Any]]:
    """What a node knows of models."""
    node.sync()
    return {key: data for (kind, key), data in node.replica.items() if kind == "model"}


def of(node: Any) -> dict[str, tuple[str, bool]]:
    return {version: (data["stage"], data["live"]) for version, data in models(node).items()}


@pytest.fixture
def node(world: Any) -> Any:
    """A node of a branch where somebody is enrolled under the present model."""
    world.branch()
    node = world.node()
    member = world.registered()
    world.membership(member)
    world.enrolled(member, 1)
    return node


def archive(data: bytes = PACKAGE) -> dict[str, Any]:
    """A package in the object store."""
    key = f"models/face/{hashlib.sha256(data).hexdigest()[:8]}.tar"
    strangers.store().put(key, data, sealed=False)
    return {"object_key": key, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def test_edges_are_told_what_each_model_is_to_them(node: Any) -> None:
    told = archive()
    staged(5, "shadow", archive=told)
    assert of(node) == {NOW: ("live", True), NEXT: ("shadow", False)}
    assert models(node)[NEXT]["archive"] == {"sha256": told["sha256"], "bytes": len(PACKAGE)}
    deployed(6)
    assert of(node) == {NOW: ("former", False), NEXT: ("live", True)}
    deployed(7, NOW, NEXT, back=True)
    assert of(node) == {NOW: ("live", True), NEXT: ("former", False)}


def test_a_canary_is_live_at_one_edge_alone(world: Any, node: Any) -> None:
    other = world.node()
    staged(5, "canary", place=other.edge_id)
    assert of(other) == {NOW: ("former", False), NEXT: ("canary", True)}
    assert of(node) == {NOW: ("live", True), NEXT: ("candidate", False)}
    staged(6, "withdrawn")
    assert of(other) == of(node) == {NOW: ("live", True)}


def test_a_canary_without_a_place_goes_to_the_busiest_branch(world: Any, node: Any, make_entry: Any) -> None:
    world.branch("hongdae")
    quiet, busy = world.node("hongdae"), world.node()
    gate = world.gate(busy)["gate_id"]
    world.gate(quiet, "hongdae")
    busy.entries(make_entry(gate), make_entry(gate))
    staged(5, "canary")
    with unit_of_work("access") as session:
        assert session.get_one(Model, NEXT).place == busy.edge_id
    assert [of(each)[NEXT][1] for each in (quiet, busy, node)] == [False, True, False]


def test_a_canary_of_a_revoked_edge_is_put_elsewhere(world: Any, node: Any) -> None:
    gone = world.node()
    world.ok("POST", f"/edges/{gone.edge_id}/revoke")
    staged(5, "canary", place=gone.edge_id)
    assert of(node)[NEXT] == ("canary", True)


def test_late_and_repeated_events_change_nothing(node: Any) -> None:
    staged(5, "shadow", archive=archive())
    deployed(7)
    for late in (lambda: staged(6, "canary"), lambda: deployed(4, NOW, NEXT), lambda: deployed(7), lambda: staged(5)):
        late()
        assert stages() == {NOW: "former", NEXT: "live"}
    assert models(node)[NEXT]["archive"]["bytes"] == len(PACKAGE)
    deployed(8, NOW, NEXT, back=True)
    staged(3, "withdrawn")
    assert stages() == {NOW: "live", NEXT: "former"}


def test_a_deployment_heard_before_its_staging_still_gets_its_package(node: Any) -> None:
    deployed(7)
    assert models(node)[NEXT]["archive"] is None
    staged(5, "shadow", archive=archive())
    assert of(node)[NEXT] == ("live", True)
    assert models(node)[NEXT]["archive"]["bytes"] == len(PACKAGE)


def test_events_on_the_other_model_are_not_ours(node: Any) -> None:
    say(
        "ModelDeployed", 9, model="laundry", version="laundry-9", previous_version=None, metrics={}, dataset=None, by="system",
    )  # fmt: skip
    assert stages() == {NOW: "live"}


def test_the_version_after_the_next_retires_the_first_but_a_way_back_does_not(node: Any) -> None:
    deployed(5)
    deployed(6, "test-model-3", NEXT)
    assert stages() == {NOW: "retired", NEXT: "former", "test-model-3": "live"}
    deployed(7, NEXT, "test-model-3", back=True)
    assert stages() == {NOW: "retired", NEXT: "live", "test-model-3": "former"}
    assert set(of(node)) == {NEXT, "test-model-3"}


def test_the_gallery_of_a_retired_model_goes_here_and_at_the_edges(world: Any, node: Any) -> None:
    member = world.registered()
    world.membership(member)
    kept = world.enrolled(member, 2)
    tried = world.enrolled(member, 3, model_version=NEXT)
    node.sync()
    assert {kept, tried} <= node.keys_of("template")
    staged(5, "shadow")
    staged(6, "withdrawn")
    with unit_of_work("access") as session:
        assert face_models.drop_retired(session) == 1
        assert face_models.drop_retired(session) == 0
    node.sync()
    assert tried not in node.keys_of("template")
    assert kept in node.keys_of("template")
    with unit_of_work("access") as session:
        for table in (TemplateRow, Enrolment):
            assert session.scalars(select(table).where(table.model_version == NEXT)).all() == []
    # And what is heard of it late is not taken.
    late = world.enrolled(member, 3, model_version=NEXT)
    node.sync()
    assert late not in node.keys_of("template")


def test_a_gallery_that_nobody_stages_goes_after_a_week(world: Any, node: Any) -> None:
    member = world.registered()
    world.enrolled(member, 3, model_version=NEXT)
    with unit_of_work("access") as session:
        assert face_models.drop_retired(session) == 0
        session.execute(
            update(Model).where(Model.version == NEXT).values(created_at=clock.now() - face_models.NEVER_STAGED * 1.1)
        )
    with unit_of_work("access") as session:
        assert face_models.drop_retired(session) == 1


def test_erasure_takes_the_faces_under_all_models(world: Any, node: Any) -> None:
    member = world.registered()
    world.membership(member)
    ids = {world.enrolled(member, 2), world.enrolled(member, 3, model_version=NEXT)}
    node.sync()
    assert ids <= node.keys_of("template")
    world.event("MemberErased", member)
    node.sync()
    assert not ids & node.keys_of("template")
    with unit_of_work("access") as session:
        assert session.scalars(select(TemplateRow).where(TemplateRow.member_id == member)).all() == []


def test_a_package_is_fetched_whole_and_from_where_it_was_cut(node: Any) -> None:
    told = archive()
    staged(5, archive=told)
    whole = node.call("GET", f"/models/{NEXT}/archive")
    assert (whole.status_code, whole.data == PACKAGE, whole.headers["ETag"]) == (200, True, f'"{told["sha256"]}"')
    headers = {"Range": "bytes=1000000-", "If-Range": f'"{told["sha256"]}"'}
    part = node.call("GET", f"/models/{NEXT}/archive", headers=headers)
    assert (part.status_code, part.data == PACKAGE[1_000_000:]) == (206, True)
    assert part.headers["Content-Range"] == f"bytes 1000000-{len(PACKAGE) - 1}/{len(PACKAGE)}"
    other = node.call("GET", f"/models/{NEXT}/archive", headers={**headers, "If-Range": '"another"'})
    assert (other.status_code, len(other.data)) == (200, len(PACKAGE))
    beyond = node.call("GET", f"/models/{NEXT}/archive", headers={"Range": f"bytes={len(PACKAGE)}-"})
    assert (beyond.status_code, beyond.json["code"]) == (416, "range_invalid")


def test_no_package_of_a_model_that_is_not_in_use(world: Any, node: Any) -> None:
    def refused(version: str) -> tuple[int, str]:
        answer = node.call("GET", f"/models/{version}/archive")
        return answer.status_code, answer.json["code"]

    assert refused("nobody-knows") == refused(NOW) == (404, "no_package")
    staged(5, archive=archive())
    assert node.call("GET", f"/models/{NEXT}/archive").status_code == 200
    staged(6, "withdrawn")
    assert refused(NEXT) == (404, "no_package")
    assert world.client.get(f"/access/v1/edge/models/{NEXT}/archive").status_code == 401


def test_the_full_gallery_scores_as_the_edges_do(
    world: Any, node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, key = "turned-1", Ed25519PrivateKey.generate()
    data = packed(tmp_path / "made", version, key)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv("SMARTFIT_MODEL_PUBLIC_KEYS_FILE", str(keys_file(tmp_path / "trusted.json", key)))
    settings.cache_clear()
    member = world.registered()
    world.enrolled(member, 2, rows=1, model_version=version)
    staged(5, "shadow", version, archive=archive(data))
    probe = {"vectors": world.packed(2, 1), "model_version": version}
    (first, *_) = node.call("POST", "/identify", json=probe).json["candidates"]
    rows = world.rows(2, 1)
    assert first["member_id"] == member
    assert first["score"] == pytest.approx(probe_factor(version, rows[0]), abs=1e-4)
    assert first["score"] != pytest.approx(1.0, abs=1e-3)


def report(**fields: Any) -> dict[str, Any]:
    return {
        "report_id": str(uuid.uuid4()), "version": NOW, "stage": "live", "frames": 4, "agreed": 4, "accepted": 3,
        "errors": 0, "milliseconds_p50": 31.5, "milliseconds_p95": 40.0, "ready": True, "trouble": None,
        "at": datetime.now(UTC).isoformat(), **fields,
    }  # fmt: skip


def observed() -> list[dict[str, Any]]:
    with unit_of_work("access") as session:
        rows = session.scalars(select(OutboxEvent).where(OutboxEvent.type.contains("ModelObserved"))).all()
        return [row.envelope["data"] for row in rows]


def test_reports_are_passed_on_once(node: Any) -> None:
    first, second = report(), report(stage="shadow", ready=False, trouble="gallery_incomplete", milliseconds_p50=None)
    body = {"reports": [first, second, report(version="unknown")]}
    assert node.call("POST", "/model-reports", json=body).json == {"accepted": 2, "passed_over": 1}
    assert node.call("POST", "/model-reports", json=body).json == {"accepted": 0, "passed_over": 3}
    told = {data["report_id"]: data for data in observed()}
    assert set(told) == {first["report_id"], second["report_id"]}
    assert told[first["report_id"]]["edge_id"] == node.edge_id
    assert (told[first["report_id"]]["model"], told[first["report_id"]]["frames"]) == ("face", 4)
    assert told[second["report_id"]]["trouble"] == "gallery_incomplete"


@pytest.mark.parametrize(
    "wrong",
    [{"frames": -1}, {"agreed": 5}, {"stage": "candidate"}, {"trouble": "A long story"}, {"milliseconds_p50": float("inf")}],
)  # fmt: skip
def test_a_report_that_cannot_be_is_refused(node: Any, wrong: dict[str, Any]) -> None:
    answer = node.call("POST", "/model-reports", json={"reports": [report(**wrong)]})
    assert answer.status_code in (400, 422)
    assert observed() == []
