"""Who may call what: every route of the domain, with every role, and without a token."""

import uuid
from typing import Any

import pytest

PEOPLE = {"customer", "helper", "branch_manager", "operator"}
STAFF = {"operator", "branch_manager"}
ALL = {"customer", "helper", "branch_manager", "operator", "device", "service"}
NODES = None  # a gate node's assertion, and no access token

ROUTES: dict[tuple[str, str], set[str] | None] = {
    ("GET", "/access/v1/branches"): ALL,
    ("GET", "/access/v1/branches/<branch_id>"): ALL,
    ("PUT", "/access/v1/branches/<branch_id>"): STAFF,
    ("POST", "/access/v1/branches/<branch_id>/mode"): STAFF,
    ("GET", "/access/v1/branches/<branch_id>/occupancy"): ALL,
    ("POST", "/access/v1/qr-passes"): PEOPLE,
    ("POST", "/access/v1/qr-keys/rotate"): {"operator"},
    ("GET", "/access/v1/models"): {"operator", "service"},
    ("PUT", "/access/v1/models/<version>"): {"operator", "service"},
    ("POST", "/access/v1/memberships"): {*STAFF, "service"},
    ("GET", "/access/v1/memberships"): {*PEOPLE, "service"},
    ("GET", "/access/v1/memberships/<membership_id>"): {*PEOPLE, "service"},
    ("PATCH", "/access/v1/memberships/<membership_id>"): {*STAFF, "service"},
    ("POST", "/access/v1/memberships/<membership_id>/freeze"): {*STAFF, "service"},
    ("POST", "/access/v1/memberships/<membership_id>/block"): {*STAFF, "service"},
    ("POST", "/access/v1/edges"): STAFF,
    ("GET", "/access/v1/edges"): STAFF,
    ("POST", "/access/v1/edges/<edge_id>/revoke"): STAFF,
    ("POST", "/access/v1/gates"): STAFF,
    ("GET", "/access/v1/gates"): STAFF,
    ("GET", "/access/v1/gates/<gate_id>"): STAFF,
    ("PATCH", "/access/v1/gates/<gate_id>"): STAFF,
    ("DELETE", "/access/v1/gates/<gate_id>"): STAFF,
    ("POST", "/access/v1/gates/<gate_id>/kiosk-key"): STAFF,
    ("GET", "/access/v1/entries"): PEOPLE,
    ("GET", "/access/v1/strangers"): STAFF,
    ("GET", "/access/v1/strangers/<stranger_id>/photo"): STAFF,
    ("POST", "/access/v1/strangers/<stranger_id>/decision"): STAFF,
    ("GET", "/access/v1/operations/events"): {"operator"},
    ("GET", "/access/v1/operations/dead-letters"): {"operator"},
    ("POST", "/access/v1/operations/dead-letters/<event_id>/replay"): {"operator"},
    ("POST", "/access/v1/operations/dead-letters/replay"): {"operator"},
    ("GET", "/access/v1/operations/audit"): {"operator"},
    ("GET", "/access/v1/edge/changes"): NODES,
    ("POST", "/access/v1/edge/entries"): NODES,
    ("POST", "/access/v1/edge/identify"): NODES,
    ("POST", "/access/v1/edge/strangers"): NODES,
    ("GET", "/access/v1/edge/models/<version>/archive"): NODES,
    ("POST", "/access/v1/edge/model-reports"): NODES,
    ("POST", "/access/internal/v1/gallery/identify"): {"service"},
    # auth's own identity alone: no role is enough.
    ("GET", "/access/internal/v1/members/<member_id>/export"): set(),
    ("GET", "/access/internal/v1/strangers/<stranger_id>/photo"): {"service"},
}


def test_the_matrix_names_every_route(world: Any) -> None:
    routes = {
        (method, rule.rule)
        for rule in world.client.application.url_map.iter_rules()
        if rule.rule.startswith("/access/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(ROUTES)


@pytest.mark.parametrize(("method", "rule"), sorted(ROUTES))
def test_route(world: Any, method: str, rule: str) -> None:
    path = "/".join("unknown" if part.startswith("<") else part for part in rule.split("/"))
    options: dict[str, Any] = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}

    def status(headers: dict[str, str]) -> tuple[int, str]:
        answer = world.client.open(path, method=method, headers=headers, **options)
        return answer.status_code, (answer.json or {}).get("code", "") if answer.is_json else ""

    assert status({})[0] == 401
    assert status({"Authorization": "Bearer nonsense"})[0] == 401
    allowed = ROUTES[method, rule]
    for role in sorted(ALL):
        got, code = status(world.token_for(str(uuid.uuid4()), role))
        if allowed is NODES:
            assert got == 401, role
        elif role in allowed:
            assert got not in (401, 500), (role, got)
            assert code != "forbidden", role
        else:
            assert (got, code) == (403, "forbidden"), role


def test_a_manager_of_one_branch_touches_nothing_of_another(world: Any) -> None:
    world.branch("gangnam")
    world.branch("mapo")
    node = world.node("mapo")
    gate = world.gate(node, "mapo")
    manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    body = {name: value for name, value in gate.items() if name not in ("gate_id", "kiosk_key", "version")}
    for method, path, sent, refusal in [
        ("PUT", "/branches/mapo", {"name": "mine now"}, (403, "not_your_branch")),
        ("PUT", "/branches/new", {"name": "mine"}, (403, "not_your_branch")),
        ("POST", "/branches/mapo/mode", {"mode": "emergency_open", "reason": "x"}, (403, "not_your_branch")),
        ("POST", "/edges", {"branch_id": "mapo", "name": "n", "public_key": "AAAA"}, (403, "not_your_branch")),
        ("POST", f"/edges/{node.edge_id}/revoke", {}, (404, "not_found")),
        ("POST", "/gates", {**body, "name": "back"}, (403, "not_your_branch")),
        ("GET", f"/gates/{gate['gate_id']}", None, (404, "not_found")),
        ("PATCH", f"/gates/{gate['gate_id']}", {"fail_mode": "safe"}, (404, "not_found")),
        ("DELETE", f"/gates/{gate['gate_id']}", None, (404, "not_found")),
        ("POST", f"/gates/{gate['gate_id']}/kiosk-key", {}, (404, "not_found")),
    ]:
        assert world.refused(method, path, manager, json=sent) == refusal, (method, path)
    assert world.ok("GET", "/gates", manager)["items"] == world.ok("GET", "/edges", manager)["items"] == []
    assert world.ok("GET", "/branches/mapo")["mode"] == "normal"
    assert len(world.ok("GET", "/gates")["items"]) == 1


def test_a_manager_keeps_their_own_branch(world: Any) -> None:
    manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    answer = world.client.put("/access/v1/branches/gangnam", headers=manager, json={"name": "강남"})
    assert answer.status_code == 201
    etag = answer.headers["ETag"]
    wanted = {"name": "강남점", "capacity": 40, "timezone": "Asia/Seoul"}
    assert world.ok("PUT", "/branches/gangnam", manager, json=wanted, headers={"If-Match": etag})["version"] == 2
    refused = world.refused("PUT", "/branches/gangnam", manager, json=wanted, headers={"If-Match": etag})
    assert refused == (412, "precondition_failed")
    assert [branch["name"] for branch in world.ok("GET", "/branches")["items"]] == ["강남점"]
    for bad, code in [
        ({"name": "x", "timezone": "Mars/Olympus"}, "timezone_unknown"),
        ({"name": "x", "timezone": "../etc/passwd"}, "timezone_unknown"),
        ({"name": "x", "hours": {"mon": 1}}, "hours_invalid"),
        ({"name": "x", "capacity": -1}, "invalid"),
        ({"name": "x", "capacity": 2.5}, "invalid"),
        ({}, "invalid"),
        ({"name": "x", "mode": "lockdown"}, "invalid"),
    ]:
        assert world.refused("PUT", "/branches/gangnam", manager, json=bad) == (422, code)
    for branch_id in ("*", "a b", "x" * 65, "-"):
        assert world.refused("PUT", f"/branches/{branch_id}", json={"name": "x"}) == (422, "branch_id_invalid")
    # What no text of the database can hold is refused before any route sees it.
    assert world.refused("PUT", "/branches/%00", json={"name": "x"}) == (404, "not_found")
