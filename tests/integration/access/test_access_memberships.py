"""Memberships over HTTP: who may, what is refused, what an edit needs."""

import uuid
from typing import Any

import pytest

from platform_api.access import purge


@pytest.fixture
def chain(world: Any) -> Any:
    """Two branches, a manager for each."""
    world.branch("gangnam")
    world.branch("mapo")
    world.manager = world.token_for("manager-1", "branch_manager", branch_ids=("gangnam",))
    world.stranger_manager = world.token_for("manager-2", "branch_manager", branch_ids=("mapo",))
    return world


def body(member: str, **changes: Any) -> dict[str, Any]:
    return {
        "member_id": member,
        "plan": "monthly",
        "valid_from": "2026-01-01",
        "valid_until": "2026-12-31",
        "branch_ids": ["gangnam"],
        **changes,
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"valid_until": "2025-12-31"}, "period_invalid"),
        ({"branch_ids": ["nowhere"]}, "branch_unknown"),
        ({"branch_ids": []}, "invalid"),
        ({"branch_ids": ["a b"]}, "invalid"),
        ({"branch_ids": "gangnam"}, "invalid"),
        ({"hours": {"someday": []}}, "hours_invalid"),
        ({"hours": {"mon": [["1", "2"]]}}, "hours_invalid"),
        ({"hours": []}, "invalid"),
        ({"valid_from": "yesterday"}, "invalid"),
        ({"valid_from": None}, "invalid"),
        ({"member_id": ""}, "invalid"),
        ({"member_id": "x" * 65}, "invalid"),
        ({"plan": ""}, "invalid"),
        ({"blocked": "banned"}, "invalid"),
        ({"version": 7}, "invalid"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(chain: Any, change: dict[str, Any], code: str) -> None:
    member = str(uuid.uuid4())
    assert chain.refused("POST", "/memberships", json=body(member, **change)) == (422, code)
    assert chain.ok("GET", "/memberships", query_string={"member_id": member})["items"] == []


def test_the_same_key_makes_one_membership(chain: Any) -> None:
    member = str(uuid.uuid4())
    headers = {"Idempotency-Key": "order-1"}
    first = chain.ok("POST", "/memberships", json=body(member), headers=headers)
    again = chain.ok("POST", "/memberships", json=body(member), headers=headers)
    assert first == again
    assert len(chain.ok("GET", "/memberships", query_string={"member_id": member})["items"]) == 1
    other = body(member, plan="yearly")
    assert chain.refused("POST", "/memberships", json=other, headers=headers) == (422, "idempotency_key_reused")


def test_edit_of_an_old_version_is_refused(chain: Any) -> None:
    made = chain.membership(str(uuid.uuid4()))
    path = f"/memberships/{made['membership_id']}"
    answer = chain.client.get(f"/access/v1{path}", headers=chain.operator)
    etag = answer.headers["ETag"]
    chain.ok("PATCH", path, json={"plan": "yearly"}, headers={"If-Match": etag})
    assert chain.refused("PATCH", path, json={"plan": "x"}, headers={"If-Match": etag}) == (412, "precondition_failed")
    assert chain.ok("GET", path)["plan"] == "yearly"
    assert chain.ok("GET", path)["version"] == 2


def test_managers_give_rights_to_their_own_branches_only(chain: Any) -> None:
    member = str(uuid.uuid4())
    made = chain.ok("POST", "/memberships", chain.manager, json=body(member))
    path = f"/memberships/{made['membership_id']}"
    for branch_ids in (["mapo"], ["gangnam", "mapo"], ["*"]):
        wanted = body(member, branch_ids=branch_ids)
        assert chain.refused("POST", "/memberships", chain.manager, json=wanted) == (403, "not_your_branch")
        change = {"branch_ids": branch_ids}
        assert chain.refused("PATCH", path, chain.manager, json=change) == (403, "not_your_branch")
    chain.ok("PATCH", path, chain.manager, json={"plan": "day"})
    # Another branch's manager does not even see it.
    assert chain.refused("GET", path, chain.stranger_manager) == (404, "not_found")
    assert chain.refused("PATCH", path, chain.stranger_manager, json={"plan": "x"}) == (404, "not_found")
    for action, sent in (("freeze", {"from": "2026-02-01", "until": "2026-02-02"}), ("block", {"reason": "banned"})):
        assert chain.refused("POST", f"{path}/{action}", chain.stranger_manager, json=sent) == (404, "not_found")


def test_a_chain_pass_is_seen_by_managers_and_changed_by_operators(chain: Any) -> None:
    made = chain.membership(str(uuid.uuid4()), "*")
    path = f"/memberships/{made['membership_id']}"
    assert chain.ok("GET", path, chain.manager)["branch_ids"] == ["*"]
    assert chain.refused("PATCH", path, chain.manager, json={"plan": "x"}) == (403, "not_your_branch")


def test_members_see_their_own_and_change_nothing(chain: Any) -> None:
    member, other = str(uuid.uuid4()), str(uuid.uuid4())
    made = chain.membership(member)
    path = f"/memberships/{made['membership_id']}"
    own, foreign = chain.token_for(member, "customer"), chain.token_for(other, "customer")
    assert chain.ok("GET", "/memberships", own)["items"] == [chain.ok("GET", path, own)]
    assert chain.ok("GET", "/memberships", foreign, query_string={"member_id": member})["items"] == []
    assert chain.refused("GET", path, foreign) == (404, "not_found")
    assert chain.refused("PATCH", path, own, json={"valid_until": "2100-01-01"}) == (403, "forbidden")
    assert chain.refused("POST", f"{path}/block", own, json={"reason": None}) == (403, "forbidden")
    assert chain.refused("POST", "/memberships", own, json=body(member)) == (403, "forbidden")


def test_freezes(chain: Any) -> None:
    made = chain.ok("POST", "/memberships", json=body(str(uuid.uuid4())))
    path = f"/memberships/{made['membership_id']}/freeze"
    frozen = chain.ok("POST", path, json={"from": "2026-03-01", "until": "2026-03-31"})
    assert frozen["freezes"] == [{"from": "2026-03-01", "until": "2026-03-31"}]
    overlapping = {"from": "2026-03-31", "until": "2026-04-02"}
    assert chain.refused("POST", path, json=overlapping) == (409, "freeze_overlaps")
    assert chain.refused("POST", path, json={"from": "2027-01-01", "until": "2027-01-02"}) == (409, "freeze_outside")
    assert chain.refused("POST", path, json={"from": "2026-03-01"}) == (422, "invalid")


def test_a_ban_holds_for_all_memberships_and_can_be_lifted(chain: Any) -> None:
    member = str(uuid.uuid4())
    first, second = chain.membership(member), chain.membership(member, "mapo")
    chain.ok("POST", f"/memberships/{second['membership_id']}/block", json={"reason": "unpaid"})
    chain.ok("POST", f"/memberships/{first['membership_id']}/block", json={"reason": "banned"})

    def blocks() -> list[Any]:
        return [row["blocked"] for row in chain.ok("GET", "/memberships", query_string={"member_id": member})["items"]]

    assert blocks() == ["banned", "banned"]
    assert chain.refused("POST", "/memberships", json=body(member)) == (409, "member_banned")
    chain.ok("POST", f"/memberships/{second['membership_id']}/block", json={"reason": None})
    assert blocks() == [None, None]
    bad = {"reason": "ugly"}
    assert chain.refused("POST", f"/memberships/{first['membership_id']}/block", json=bad) == (422, "invalid")


def test_lapsed_memberships_leave_the_edges_and_come_back_when_prolonged(chain: Any) -> None:
    node = chain.node()
    member = chain.registered()
    made = chain.membership(member, valid_from="2020-01-01", valid_until="2020-02-01")
    chain.enrolled(member, 1)
    node.sync()
    assert node.keys_of("membership") == {made["membership_id"]}
    assert purge.run()["memberships_lapsed"] == 1
    node.sync()
    assert not node.keys_of("membership") | node.keys_of("member") | node.keys_of("template")
    chain.ok("PATCH", f"/memberships/{made['membership_id']}", json={"valid_until": None})
    node.sync()
    assert node.keys_of("membership") == {made["membership_id"]}
    assert len(node.keys_of("template")) == 1


def test_unknown_membership(chain: Any) -> None:
    assert chain.refused("GET", f"/memberships/{uuid.uuid4()}") == (404, "not_found")
    assert chain.refused("PATCH", f"/memberships/{uuid.uuid4()}", json={}) == (404, "not_found")
