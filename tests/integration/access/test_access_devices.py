"""Edge nodes and gates: registered, proved by their key, revoked; and what a stolen or replayed assertion is worth."""

import base64
import hashlib
import uuid
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from ml_bentos.registry import live_version
from platform_api.access import purge
from platform_api.core import clock
from platform_api.core.database import database

HOUR = 3600


@pytest.fixture
def node(world: Any) -> Any:
    world.branch()
    return world.node()


def refused(answer: Any) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json", answer.text
    return answer.status_code, answer.json["code"]


def test_each_assertion_is_good_once(node: Any) -> None:
    assertion = node.assertion()
    assert node.call("GET", "/changes", assertion=assertion).status_code == 200
    assert refused(node.call("GET", "/changes", assertion=assertion)) == (401, "assertion_replayed")


def test_an_assertion_is_spent_even_when_its_request_fails(node: Any) -> None:
    assertion = node.assertion()
    assert node.call("POST", "/entries", assertion=assertion, json={"entries": "x"}).status_code == 422
    assert refused(node.call("GET", "/changes", assertion=assertion)) == (401, "assertion_replayed")


@pytest.mark.parametrize("off", [HOUR, -HOUR, 95, -95])
def test_a_wrong_clock_is_told_the_time(node: Any, off: int) -> None:
    now = int(clock.now().timestamp())
    answer = node.call("GET", "/changes", assertion=node.assertion(iat=now + off, exp=now + off + 60))
    assert refused(answer) == (401, "clock_skew")
    told = datetime.fromisoformat(answer.json["server_time"])
    assert abs(told - clock.now()) < timedelta(seconds=30)
    # With the time told, the same node gets in.
    at = int(told.timestamp())
    assert node.call("GET", "/changes", assertion=node.assertion(iat=at, exp=at + 60)).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "smartfit"},
        {"aud": None},
        {"sub": "somebody"},
        {"jti": None},
        {"jti": 7},
        {"jti": "short"},
        {"jti": "x" * 129},
        {"exp": None},
        {"iat": None},
        {"iss": str(uuid.uuid4())},
        {"iss": {"a": 1}},
        {"exp": 2**62},
        {"iat": "now"},
    ],
)
def test_wrong_claims(node: Any, changes: dict[str, Any]) -> None:
    try:
        assertion = node.assertion(**changes)
    except TypeError:  # PyJWT will not even sign some of them
        body = base64.urlsafe_b64encode(str(changes).encode()).decode().rstrip("=")
        assertion = f"eyJhbGciOiJFZERTQSJ9.{body}.AAAA"
    assert refused(node.call("GET", "/changes", assertion=assertion)) == (401, "assertion_invalid")


def test_a_life_beyond_a_minute_is_refused(node: Any) -> None:
    now = int(clock.now().timestamp())
    assertion = node.assertion(exp=now + HOUR)
    assert refused(node.call("GET", "/changes", assertion=assertion)) == (401, "assertion_invalid")


def test_forgeries(world: Any, node: Any) -> None:
    claims = jwt.decode(node.assertion(), options={"verify_signature": False})
    public = node.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    forged = [
        jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA"),
        jwt.encode(claims, None, "none"),
        jwt.encode(claims, public, "HS256"),
        "a.b.c",
        "x" * 3000,
        world.operator["Authorization"].removeprefix("Bearer "),
    ]
    for assertion in forged:
        assert refused(node.call("GET", "/changes", assertion=assertion)) == (401, "assertion_invalid")
    bare = world.client.get("/access/v1/edge/changes")
    assert refused(bare) == (401, "assertion_missing")


def test_a_device_assertion_opens_no_other_door(world: Any, node: Any) -> None:
    headers = {"Authorization": f"Bearer {node.assertion()}"}
    for path in ("/access/v1/entries", "/access/v1/branches", "/access/v1/strangers"):
        assert world.client.get(path, headers=headers).status_code == 401


def test_revoked_node(world: Any, node: Any) -> None:
    assert world.ok("POST", f"/edges/{node.edge_id}/revoke")["revoked_at"]
    assert refused(node.call("GET", "/changes")) == (401, "assertion_invalid")
    wanted = {
        "branch_id": "gangnam",
        "edge_id": node.edge_id,
        "name": "x",
        "controller_url": "https://a",
        "controller_gate_id": "g",
    }
    assert world.refused("POST", "/gates", json=wanted) == (422, "edge_unfit")


def test_spent_assertions_are_forgotten_once_expired(node: Any) -> None:
    node.call("GET", "/changes")
    assert purge.run()["assertions"] == 0
    with clock.travel(timedelta(minutes=5)):
        assert purge.run()["assertions"] == 1


@pytest.mark.parametrize("key", ["", "AAAA", base64.b64encode(bytes(range(33))).decode(), "not base64!", 5, None])
def test_registering_needs_an_ed25519_key(world: Any, key: Any) -> None:
    world.branch()
    status, code = world.refused("POST", "/edges", json={"branch_id": "gangnam", "name": "n", "public_key": key})
    assert status == 422
    assert code in ("invalid", "public_key_invalid")


def test_a_key_registers_once(world: Any, node: Any) -> None:
    raw = node.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    body = {"branch_id": "gangnam", "name": "again", "public_key": base64.b64encode(raw).decode()}
    assert world.refused("POST", "/edges", json=body) == (409, "edge_exists")
    assert world.refused("POST", "/edges", json={**body, "branch_id": "nowhere"}) == (404, "not_found")


def test_kiosk_key_is_shown_once_and_kept_as_a_hash(world: Any, node: Any) -> None:
    gate = world.gate(node)
    key, gate_id = gate["kiosk_key"], gate["gate_id"]
    with database("access").connect() as connection:
        stored = connection.execute(text("SELECT * FROM gate")).one()
        kept = connection.scalars(text("SELECT convert_from(body, 'utf8') FROM idempotency_key")).all()
    assert stored.kiosk_key_sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert key not in str(stored)
    assert key not in str(kept)
    assert "kiosk_key" not in world.ok("GET", f"/gates/{gate_id}")
    assert "kiosk_key" not in world.ok("GET", "/gates")["items"][0]
    node.sync()
    renewed = world.ok("POST", f"/gates/{gate_id}/kiosk-key")["kiosk_key"]
    assert renewed != key
    node.sync()
    assert node.replica["gate", gate_id]["kiosk_key_sha256"] == hashlib.sha256(renewed.encode()).hexdigest()


def test_gate_defaults_and_changes(world: Any, node: Any) -> None:
    gate = world.gate(node, anti_passback={"mode": "timeout", "minutes": 20}, lockout={"misses": 3})
    assert gate["lockout"] == {"enabled": True, "misses": 3, "window_s": 60.0, "block_s": 30.0}
    assert (gate["direction"], gate["liveness"], gate["fail_mode"], gate["open_seconds"]) == (
        "in",
        "off",
        "secure",
        5.0,
    )
    path = f"/gates/{gate['gate_id']}"
    etag = world.client.get(f"/access/v1{path}", headers=world.operator).headers["ETag"]
    world.ok("PATCH", path, json={"direction": "both", "lockout": {"enabled": False}}, headers={"If-Match": etag})
    assert world.refused("PATCH", path, json={"name": "x"}, headers={"If-Match": etag})[0] == 412
    assert world.refused("POST", "/gates", json={**strip(gate), "name": "front"}) == (409, "gate_exists")
    node.sync()
    assert node.replica["gate", gate["gate_id"]]["direction"] == "both"
    assert world.client.delete(f"/access/v1{path}", headers=world.operator).status_code == 204
    node.sync()
    assert not node.keys_of("gate")
    assert world.refused("GET", path) == (404, "not_found")
    world.gate(node)


def strip(gate: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in gate.items() if name not in ("gate_id", "kiosk_key", "version")}


@pytest.mark.parametrize(
    "change",
    [
        {"controller_url": "http://127.0.0.1"},
        {"controller_url": "file:///etc/passwd"},
        {"direction": "up"},
        {"liveness": "maybe"},
        {"fail_mode": "open"},
        {"open_seconds": 0},
        {"open_seconds": 301},
        {"open_seconds": "soon"},
        {"anti_passback": {"mode": "timeout"}},
        {"anti_passback": {"mode": "hard", "extra": 1}},
        {"lockout": {"misses": 0}},
        {"kiosk_key_sha256": "0" * 64},
        {"name": ""},
        {"edge_id": "nobody"},
    ],
)
def test_gate_settings_that_make_no_sense(world: Any, node: Any, change: dict[str, Any]) -> None:
    body = {
        "branch_id": "gangnam",
        "edge_id": node.edge_id,
        "name": "front",
        "controller_url": "https://127.0.0.1:8448",
        "controller_gate_id": "g1",
        **change,
    }
    assert world.refused("POST", "/gates", json=body)[0] == 422
    assert world.ok("GET", "/gates")["items"] == []


def test_a_gate_moved_to_another_node_leaves_the_first_and_may_still_be_reported_by_it(
    world: Any, node: Any, make_entry: Any
) -> None:
    gate = world.gate(node)["gate_id"]
    node.sync()
    successor = world.node()
    world.ok("PATCH", f"/gates/{gate}", json={"edge_id": successor.edge_id})
    node.sync()
    successor.sync()
    assert not node.keys_of("gate")
    assert successor.keys_of("gate") == {gate}
    assert node.entries(make_entry(gate))["accepted"] == 1


def test_a_node_of_another_branch_cannot_have_the_gate(world: Any, node: Any) -> None:
    gate = world.gate(node)["gate_id"]
    world.branch("mapo")
    foreign = world.node("mapo")
    assert world.refused("PATCH", f"/gates/{gate}", json={"edge_id": foreign.edge_id}) == (422, "edge_unfit")


def test_modes_reach_the_edge_and_are_audited(world: Any, node: Any) -> None:
    node.sync()
    manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    for mode in ("lockdown", "emergency_open", "normal"):
        world.ok("POST", "/branches/gangnam/mode", manager, json={"mode": mode, "reason": f"drill {mode}"})
        node.sync()
        assert node.replica["branch", "gangnam"]["mode"] == mode
    with database("access").connect() as connection:
        trail = connection.execute(
            text(
                "SELECT actor, details->>'to', details->>'reason' FROM audit_log WHERE action = 'branch.mode' ORDER BY position DESC LIMIT 3"
            )
        ).all()
    assert [tuple(row) for row in trail] == [
        ("manager-1", mode, f"drill {mode}") for mode in ("normal", "emergency_open", "lockdown")
    ]
    for bad in ({"mode": "panic", "reason": "x"}, {"mode": "lockdown"}, {"mode": "lockdown", "reason": ""}):
        assert world.refused("POST", "/branches/gangnam/mode", json=bad) == (422, "invalid")


def test_identify(world: Any, node: Any) -> None:
    members = {seed: world.registered() for seed in range(4)}
    for seed, member in members.items():
        world.enrolled(member, seed)
    probe = {"vectors": world.packed(2), "model_version": "test-model-1"}
    found = node.call("POST", "/identify", json=probe).json
    assert found["gallery_size"] == 4
    assert found["candidates"][0]["member_id"] == members[2]
    assert found["candidates"][0]["score"] > 0.9 > found["candidates"][1]["score"]
    unknown = node.call("POST", "/identify", json={**probe, "model_version": "none"}).json
    assert unknown == {"candidates": [], "gallery_size": 0}

    service = world.token_for("auth", "service")
    path = "/access/internal/v1/gallery/identify"
    answer = world.client.post(path, headers=service, json={**probe, "exclude_member_id": members[2]})
    assert members[2] not in {candidate["member_id"] for candidate in answer.json["candidates"]}
    assert len(answer.json["candidates"]) == 3
    assert world.client.post(path, headers=world.operator, json=probe).status_code == 403


@pytest.mark.parametrize(
    "vectors",
    ["", "AAAA", "@@@@@@@@", base64.b64encode(b"\0" * 512).decode(), base64.b64encode(b"\xff" * 512).decode(), 5],
)
def test_identify_refuses_what_is_no_face(world: Any, node: Any, vectors: Any) -> None:
    world.enrolled(world.registered(), 1)
    answer = node.call("POST", "/identify", json={"vectors": vectors, "model_version": "test-model-1"})
    assert answer.status_code == 422


def test_models_and_thresholds_reach_the_edges(world: Any, node: Any) -> None:
    version = live_version()
    world.enrolled(world.registered(), 1, model_version=version)
    node.sync()
    thresholds = node.replica["model", version]["thresholds"]
    assert thresholds["model_version"] == version
    assert node.replica["model", version]["live"]
    world.ok("PUT", "/models/next", json={"live": True, "thresholds": thresholds})
    node.sync()
    assert [key for (kind, key), data in node.replica.items() if kind == "model" and data["live"]] == ["next"]
    bad = {"live": True, "thresholds": {"score": [1]}}
    assert world.refused("PUT", "/models/next", json=bad) == (422, "thresholds_invalid")
