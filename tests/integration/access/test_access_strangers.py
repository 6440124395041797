"""Frames of strangers: sealed, kept for a stated time, seen by those who run the branch, each look audited, then gone."""

import io
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, text

from platform_api.access import purge
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent


def jpeg(side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def scene(world: Any, objects: Path) -> Any:
    for left in objects.rglob("*.jpg"):
        left.unlink()
    world.branch()
    world.branch("mapo")
    world.node_, world.objects = world.node(), objects
    world.gate_id = world.gate(world.node_)["gate_id"]
    world.manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    world.other_manager = world.token_for("manager-2", "branch_manager", branch_ids=("mapo",))
    return world


def upload(scene: Any, body: bytes, at: datetime | None = None, **query: Any) -> Any:
    about = {
        "entry_id": str(uuid.uuid4()),
        "gate_id": scene.gate_id,
        "at": (at or datetime.now(UTC)).isoformat(),
        **query,
    }
    return scene.node_.call("POST", "/strangers", query_string=about, data=body, headers={"Content-Type": "image/jpeg"})


def files(scene: Any) -> list[Path]:
    return list(scene.objects.rglob("*.jpg"))


def test_kept_sealed_seen_and_audited(scene: Any) -> None:
    photo = jpeg()
    made = upload(scene, photo)
    assert made.status_code == 201
    stranger_id = made.json["stranger_id"]
    (file,) = files(scene)
    assert photo[:200] not in file.read_bytes()
    assert b"JFIF" not in file.read_bytes()

    (listed,) = scene.ok("GET", "/strangers", scene.manager)["items"]
    assert listed["stranger_id"] == stranger_id
    assert "object_key" not in listed
    shown = scene.client.get(f"/access/v1/strangers/{stranger_id}/photo", headers=scene.manager)
    assert shown.data == photo
    assert shown.content_type == "image/jpeg"
    assert shown.headers["Cache-Control"] == "no-store"
    with database("access").connect() as connection:
        trail = text("SELECT actor FROM audit_log WHERE action = 'stranger.view_photo' AND target = :t")
        assert connection.scalars(trail, {"t": stranger_id}).all() == ["manager-1"]


def test_only_those_who_run_the_branch(scene: Any) -> None:
    stranger_id = upload(scene, jpeg()).json["stranger_id"]
    customer = scene.token_for(str(uuid.uuid4()), "customer")
    for path in ("/strangers", f"/strangers/{stranger_id}/photo"):
        assert scene.refused("GET", path, customer) == (403, "forbidden")
    assert scene.ok("GET", "/strangers", scene.other_manager)["items"] == []
    assert scene.ok("GET", "/strangers", scene.other_manager, query_string={"branch_id": "gangnam"})["items"] == []
    assert scene.refused("GET", f"/strangers/{stranger_id}/photo", scene.other_manager) == (404, "not_found")
    decision = {"decision": "stranger"}
    assert scene.refused("POST", f"/strangers/{stranger_id}/decision", scene.other_manager, json=decision)[0] == 404


def test_the_same_frame_is_kept_once(scene: Any) -> None:
    entry_id = str(uuid.uuid4())
    first, again = upload(scene, jpeg(), entry_id=entry_id), upload(scene, jpeg(), entry_id=entry_id)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["stranger_id"] == again.json["stranger_id"]
    assert len(files(scene)) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"hello", 415),
        (b"\x89PNG\r\n\x1a\n", 415),
        (b"\xff\xd8\xff" + b"x" * 500, 422),
        (b"\xff\xd8\xff" + b"x" * (2 * 2**20), 413),
        (b"\xff\xd8\xff" + b"x" * (5 * 2**20), 413),
    ],
)
def test_what_is_no_picture_is_refused_and_leaves_nothing(scene: Any, body: bytes, status: int) -> None:
    answer = upload(scene, body)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert files(scene) == []


def test_truncated_picture(scene: Any) -> None:
    assert upload(scene, jpeg(300)[:-2000]).status_code == 422


def test_foreign_gate_and_bad_query(scene: Any) -> None:
    foreign = scene.gate(scene.node("mapo"), "mapo")["gate_id"]
    assert upload(scene, jpeg(), gate_id=foreign).status_code == 404
    assert upload(scene, jpeg(), entry_id="x").status_code == 422
    assert files(scene) == []


def test_gone_when_the_time_is_over(scene: Any) -> None:
    stranger_id = upload(scene, jpeg()).json["stranger_id"]
    upload(scene, jpeg(), at=datetime.now(UTC) - timedelta(hours=71))
    assert purge.run()["strangers"] == 0
    with clock.travel(timedelta(hours=2)):
        assert purge.run()["strangers"] == 1
    assert len(files(scene)) == 1
    with clock.travel(timedelta(hours=73)):
        assert purge.run()["strangers"] == 1
    assert files(scene) == []
    assert scene.refused("GET", f"/strangers/{stranger_id}/photo") == (404, "not_found")


def test_a_frame_that_comes_after_its_time_is_not_kept(scene: Any) -> None:
    assert upload(scene, jpeg(), at=datetime.now(UTC) - timedelta(hours=80)).status_code == 200
    assert files(scene) == []
    assert scene.ok("GET", "/strangers")["items"] == []


def test_files_nobody_refers_to_are_removed(scene: Any) -> None:
    upload(scene, jpeg())
    with database("access").begin() as connection:
        connection.execute(text("DELETE FROM stranger"))
    purge.run()
    assert len(files(scene)) == 1, "it may be a frame whose row is being written"
    with clock.travel(timedelta(hours=2)):
        purge.run()
    assert files(scene) == []


def test_decisions(scene: Any) -> None:
    first, second = (upload(scene, jpeg()).json["stranger_id"] for _ in range(2))
    member = scene.registered()
    path = f"/strangers/{first}/decision"
    assert scene.refused("POST", path, scene.manager, json={"decision": "member"})[0] == 422
    assert scene.refused("POST", path, scene.manager, json={"decision": "stranger", "member_id": member})[0] == 422
    scene.ok("POST", path, scene.manager, json={"decision": "member", "member_id": member, "note": "forgot glasses"})
    assert scene.refused("POST", path, scene.manager, json={"decision": "stranger"}) == (409, "decided_already")
    scene.ok("POST", f"/strangers/{second}/decision", scene.manager, json={"decision": "dismissed"})
    assert scene.refused("GET", f"/strangers/{second}/photo", scene.manager) == (410, "photo_gone")
    assert len(files(scene)) == 1
    assert scene.ok("GET", "/strangers", scene.manager, query_string={"undecided": "true"})["items"] == []
    # Erasing the member takes the linked frame along.
    scene.event("MemberErased", member)
    assert files(scene) == []
    assert [row["stranger_id"] for row in scene.ok("GET", "/strangers", scene.manager)["items"]] == [second]


def told(stranger_id: str) -> list[dict[str, Any]]:
    """The events about a frame."""
    with unit_of_work("access") as session:
        rows = session.scalars(select(OutboxEvent).where(OutboxEvent.type == "access.StrangerIdentified")).all()
    return [row.envelope for row in rows if row.envelope["subject"] == stranger_id]


def test_that_a_member_was_known_is_told_without_a_picture(scene: Any) -> None:
    known, unknown, dismissed = (upload(scene, jpeg()).json["stranger_id"] for _ in range(3))
    member = scene.registered()
    said = {"decision": "member", "member_id": member, "note": "forgot glasses"}
    shown = scene.ok("POST", f"/strangers/{known}/decision", scene.manager, json=said)
    scene.ok("POST", f"/strangers/{unknown}/decision", scene.manager, json={"decision": "stranger"})
    scene.ok("POST", f"/strangers/{dismissed}/decision", scene.manager, json={"decision": "dismissed"})
    assert told(unknown) == told(dismissed) == []
    (envelope,) = told(known)
    data = envelope["data"]
    assert data.pop("at")[:19] == shown["at"][:19]
    assert data.pop("decided_at")[:19] == shown["decided_at"][:19]
    # Ids alone: neither the picture, nor where it lies, nor what the manager wrote.
    assert data == {"stranger_id": known, "member_id": member, "branch_id": "gangnam"}


def test_a_refused_decision_tells_nothing(scene: Any) -> None:
    stranger_id = upload(scene, jpeg()).json["stranger_id"]
    member = scene.registered()
    said = {"decision": "member", "member_id": member}
    assert scene.refused("POST", f"/strangers/{stranger_id}/decision", scene.other_manager, json=said)[0] == 404
    scene.event("MemberErased", member)
    path = f"/strangers/{stranger_id}/decision"
    assert scene.refused("POST", path, scene.manager, json=said) == (422, "member_erased")
    assert told(stranger_id) == []
    (left,) = scene.ok("GET", "/strangers", scene.manager)["items"]
    assert (left["decision"], left["member_id"]) == (None, None)


def test_services_alone_fetch_a_frame_and_only_where_a_member_was_known(scene: Any) -> None:
    photo, service = jpeg(), scene.token_for("auth", "service")
    stranger_id = upload(scene, photo).json["stranger_id"]
    url = f"/access/internal/v1/strangers/{stranger_id}/photo"

    def fetch(who: dict[str, str] | None) -> Any:
        return scene.client.get(url, headers=who)

    assert fetch(service).status_code == 404, "nobody has decided yet"
    member = scene.registered()
    said = {"decision": "member", "member_id": member}
    scene.ok("POST", f"/strangers/{stranger_id}/decision", scene.manager, json=said)
    answer = fetch(service)
    assert (answer.status_code, answer.data, answer.content_type) == (200, photo, "image/jpeg")
    assert answer.headers["Cache-Control"] == "no-store"
    assert fetch(None).status_code == 401
    customer = scene.token_for(member, "customer")
    for who in (scene.operator, scene.manager, customer):
        refusal = fetch(who)
        assert (refusal.status_code, refusal.json["code"]) == (403, "forbidden")
    with database("access").connect() as connection:
        trail = text("SELECT actor FROM audit_log WHERE action = 'stranger.fetch_photo' AND target = :t")
        assert connection.scalars(trail, {"t": stranger_id}).all() == ["auth"]
    with clock.travel(timedelta(hours=73)):
        assert fetch(scene.token_for("auth", "service")).status_code == 404
    for file in files(scene):
        file.unlink()
    gone = fetch(service)
    assert (gone.status_code, gone.json["code"]) == (410, "photo_gone")
    scene.event("MemberErased", member)
    assert fetch(service).status_code == 404
