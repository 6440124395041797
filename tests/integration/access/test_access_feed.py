"""The change feed promises that an edge which follows it ends with the centre's state: nothing skipped, nothing kept."""

import base64
import random
import threading
import uuid
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from platform_api.access import feed, purge
from platform_api.core import clock
from platform_api.core.database import database, unit_of_work


def test_new_edge_gets_the_whole_state_of_its_branch_and_nothing_of_others(world: Any) -> None:
    world.branch("gangnam", capacity=30, hours={"mon": [["06:00", "23:00"]]})
    world.branch("mapo")
    node, other = world.node("gangnam"), world.node("mapo")
    gate = world.gate(node)
    world.gate(other, "mapo")
    here, there, everywhere = (world.registered() for _ in range(3))
    mine = world.membership(here, "gangnam")
    world.membership(there, "mapo")
    world.membership(everywhere, "*")
    templates = {member: world.enrolled(member, seed) for seed, member in enumerate((here, there, everywhere))}

    node.sync()

    assert node.keys_of("member") == {here, everywhere}
    assert node.keys_of("template") == {templates[here], templates[everywhere]}
    assert node.keys_of("gate") == {gate["gate_id"]}
    assert node.replica["branch", "gangnam"]["capacity"] == 30
    assert node.replica["membership", mine["membership_id"]]["valid_until"] == "2099-12-31"
    assert node.replica["model", "test-model-1"]["live"] is True
    assert not {key for _, key in node.seen_keys} & {there, templates[there], "mapo"}, "another branch's ids leaked"
    assert "kiosk_key" not in node.replica["gate", gate["gate_id"]]
    assert len(node.replica["gate", gate["gate_id"]]["kiosk_key_sha256"]) == 64


def test_vectors_reach_the_edge_as_auth_had_them_though_they_lie_rotated(world: Any) -> None:
    world.branch()
    node = world.node()
    member = world.registered()
    world.membership(member)
    template = world.enrolled(member, 7, rows=3)

    node.sync()
    data = node.replica["template", template]
    got = np.frombuffer(base64.b64decode(data["vectors"]), "<f4").reshape(data["rows"], -1)
    sent = np.frombuffer(base64.b64decode(world.auth.templates[template]["vectors"]), "<f4").reshape(3, -1)
    np.testing.assert_allclose(got, sent, atol=1e-6)
    with database("access").connect() as connection:
        stored = connection.scalar(text("SELECT vector::text FROM template_row WHERE row = 0"))
    assert abs(float(np.dot(np.array([float(x) for x in stored.strip("[]").split(",")]), sent[0]))) < 0.5


def test_late_commit_is_not_skipped(world: Any) -> None:
    """A transaction that began before another and commits after it: the reader must still see both."""
    world.branch()
    node = world.node()
    node.sync()
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        with unit_of_work("access") as session:
            feed.touch(session, "qr_key", ["slow"], ["*"], deleted=True)
            began.set()
            go_on.wait(10)
        done.set()

    writer = threading.Thread(target=slow)
    writer.start()
    assert began.wait(10)
    with unit_of_work("access") as session:
        feed.touch(session, "qr_key", ["quick"], ["*"], deleted=True)
    node.sync()
    seen_before = set(node.seen_keys)
    go_on.set()
    writer.join(10)
    assert done.is_set()
    node.sync()

    assert ("qr_key", "slow") in node.seen_keys
    assert ("qr_key", "quick") in node.seen_keys
    # The quick one was held back with the slow one, not passed over it.
    assert ("qr_key", "quick") not in seen_before


def test_same_object_changed_by_two_transactions_in_reverse_order(world: Any) -> None:
    """The older transaction writes last: its position is the lower one, and the reader cannot have passed it."""
    world.branch()
    node = world.node()
    node.sync()
    with database("access").connect() as older, older.begin():
        older.execute(text("SELECT pg_current_xact_id()"))
        world.branch("gangnam", capacity=1)
        node.sync()
        older.execute(
            feed._TOUCH,
            {"kind": "branch", "keys": ["gangnam"], "audience": ["gangnam"], "deleted": False, "at": clock.now()},
        )
        older.execute(text("UPDATE branch SET capacity = 2 WHERE branch_id = 'gangnam'"))
    node.sync()
    assert node.replica["branch", "gangnam"]["capacity"] == 2


def test_losing_a_branch_takes_the_member_off_its_edges(world: Any) -> None:
    world.branch("gangnam")
    world.branch("mapo")
    node, other = world.node("gangnam"), world.node("mapo")
    member = world.registered()
    membership = world.membership(member, "gangnam", "mapo")
    template = world.enrolled(member, 1)
    node.sync()
    other.sync()
    assert template in node.keys_of("template") & other.keys_of("template")

    world.ok("PATCH", f"/memberships/{membership['membership_id']}", json={"branch_ids": ["mapo"]})
    node.sync()
    other.sync()

    assert not node.keys_of("template") | node.keys_of("member") | node.keys_of("membership")
    assert other.keys_of("template") == {template}
    assert other.replica["membership", membership["membership_id"]]["branch_ids"] == ["mapo"]


def test_pages_go_on_where_they_stopped(world: Any) -> None:
    world.branch()
    node = world.node()
    members = [world.registered() for _ in range(12)]
    for member in members:
        world.membership(member)
    assert node.sync(limit=5) >= 5
    assert node.keys_of("member") == set(members)
    quiet = node.page()
    assert quiet["changes"] == []
    assert not quiet["has_more"]


def test_edge_away_for_too_long_starts_again_and_a_new_one_does_not(world: Any) -> None:
    world.branch()
    node, fresh = world.node(), world.node()
    member = world.registered()
    world.membership(member)
    world.enrolled(member, 1)
    node.sync()
    old_cursor = node.cursor
    world.event("MemberErased", member)
    with clock.travel(timedelta(days=30)):
        done = purge.run()
    assert done["deletions_forgotten"] >= 3
    answer = node.call("GET", "/changes", query_string={"cursor": old_cursor})
    assert (answer.status_code, answer.json["code"]) == (410, "cursor_too_old")
    node.sync()
    assert not node.keys_of("member") | node.keys_of("template")
    # A walk that began after the deletion needs no tombstones, even when it is interrupted on the way.
    while fresh.page(limit=1)["has_more"]:
        pass
    assert "reset" not in fresh.page()


def test_restored_database_sends_edges_back_to_the_start(world: Any) -> None:
    world.branch()
    node = world.node()
    node.sync()
    with unit_of_work("access") as session:
        session.execute(text("UPDATE feed_state SET cluster = 'another/1'"))
        session.execute(text("UPDATE change SET xid = '9000000000'"))
    assert node.page().get("reset")
    node.sync()
    assert ("branch", "gangnam") in node.replica


@pytest.mark.parametrize("cursor", ["x", "!!", "bnVsbA", "WzEsMiwzXQ", "WyJhIiwiYiIsLTEsMCwwXQ", "A" * 400])
def test_bad_cursor_is_told(world: Any, cursor: str) -> None:
    world.branch()
    answer = world.node().call("GET", "/changes", query_string={"cursor": cursor})
    assert (answer.status_code, answer.json["code"]) == (400, "bad_cursor")


def test_cursor_of_another_branch_is_refused(world: Any) -> None:
    world.branch("gangnam")
    world.branch("mapo")
    node, other = world.node("gangnam"), world.node("mapo")
    node.sync()
    answer = other.call("GET", "/changes", query_string={"cursor": node.cursor})
    assert answer.status_code == 410


@pytest.mark.parametrize("seed", range(3))
def test_followers_converge_to_the_state(world: Any, seed: int) -> None:
    """Whatever happens, in whatever pages it is read, a follower ends where a new edge begins."""
    rng = random.Random(seed)
    branches = [world.branch(name) for name in ("a", "b", "c")]
    followers = {name: world.node(name) for name in branches}
    members = [world.registered() for _ in range(5)]
    memberships: list[str] = []
    faces: dict[str, str] = {}

    def pick() -> list[str]:
        return rng.choice([["*"], ["a"], ["b"], ["a", "c"], ["b", "c"]])

    for step in range(45):
        member = rng.choice(members)
        action = rng.randrange(8)
        if action in (0, 1):
            memberships.append(world.membership(member, *pick())["membership_id"])
        elif action == 2 and memberships:
            world.ok("PATCH", f"/memberships/{rng.choice(memberships)}", json={"branch_ids": pick(), "plan": str(step)})
        elif action == 3 and memberships:
            reason = rng.choice(["unpaid", None])
            world.ok("POST", f"/memberships/{rng.choice(memberships)}/block", json={"reason": reason})
        elif action == 4:
            faces[member] = world.enrolled(member, step)
        elif action == 5 and member in faces:
            world.event("FaceWithdrawn", member, template_ids=[faces.pop(member)])
        elif action == 6 and rng.random() < 0.3:
            world.event("MemberErased", member)
            gone = world.ok("GET", "/memberships", query_string={"member_id": member})["items"]
            assert gone == []
            with database("access").connect() as connection:
                left = set(connection.scalars(text("SELECT membership_id FROM membership")))
            memberships[:] = [key for key in memberships if key in left]
            members[members.index(member)] = world.registered()
            faces.pop(member, None)
        else:
            rng.choice(list(followers.values())).page(limit=rng.randrange(1, 6))

    for name, follower in followers.items():
        follower.sync(limit=3)
        new = world.node(name)
        new.sync()
        assert follower.replica == new.replica


def test_unknown_node_learns_nothing(world: Any) -> None:
    world.branch()
    node = world.node()
    node.edge_id = str(uuid.uuid4())
    assert node.call("GET", "/changes").status_code == 401
