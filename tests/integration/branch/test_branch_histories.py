"""Histories for the data side: by pseudonym, by the branch's clock, in pages, and nothing of who was erased."""

from datetime import timedelta
from typing import Any

import pytest

from platform_api.branch import histories
from platform_api.core import clock
from platform_api.core.encryption import KeyRing
from platform_api.core.pseudonyms import Pseudonyms, UnknownPseudonym

PATH = "/branch/internal/v1"


@pytest.fixture
def ask(world: Any, token_for: Any) -> Any:
    """`ask(path, **query)` -> all items of all pages."""

    def of(path: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            headers = token_for("dagster", "service")
            answer = world.client.get(PATH + path, query_string={**query, **cursor}, headers=headers)
            assert answer.status_code == 200, answer.text
            found += answer.json["items"]
            if answer.json["next_cursor"] is None:
                return found
            cursor = {"cursor": answer.json["next_cursor"]}

    return of


def test_visits_are_told_by_pseudonym_and_by_the_branchs_clock(world: Any, ask: Any) -> None:
    world.branch("gangnam")
    world.branch("paris", timezone="Europe/Paris")
    for branch_id in ("gangnam", "paris"):
        world.visit("member-1", branch_id, at="2026-03-01T23:30:00+00:00")
    world.visit(None, "gangnam")
    world.visit("member-2", "unheard-of")
    found = {item["branch_id"]: item for item in ask("/visits")}
    assert set(found) == {"gangnam", "paris"}
    assert (found["gangnam"]["day"], found["gangnam"]["weekday"], found["gangnam"]["hour"]) == ("2026-03-02", 0, 8)
    assert (found["paris"]["day"], found["paris"]["weekday"], found["paris"]["hour"]) == ("2026-03-02", 0, 0)
    assert found["gangnam"]["member"] == found["paris"]["member"]
    assert "member-1" not in str(found)
    assert histories.pseudonyms().member_of(found["gangnam"]["member"]) == "member-1"


def test_visits_come_in_pages_since_a_time(world: Any, ask: Any) -> None:
    world.branch("gangnam")
    now = clock.now()
    for days in range(7):
        world.visit(f"member-{days}", "gangnam", at=(now - timedelta(days=days)).isoformat())
    assert len(ask("/visits", limit=2)) == 7
    assert len(ask("/visits", limit=2, since=(now - timedelta(days=2, hours=1)).isoformat())) == 3


def test_ratings_without_words(world: Any, ask: Any) -> None:
    world.branch("gangnam")
    world.review("r1", rating=2, member_id="member-1")
    world.review("r2", rating=5, member_id="member-2")
    world.review("r2", 2, rating=5, member_id="member-2", state="removed")
    (found,) = ask("/ratings", limit=1)
    assert set(found) == {"member", "branch_id", "rating", "day"}
    assert found["rating"] == 2


def test_nothing_is_told_of_who_was_erased(world: Any, ask: Any) -> None:
    world.branch("gangnam")
    for member in ("member-1", "member-2"):
        world.visit(member)
        world.review(f"r-{member}", member_id=member)
    world.deliver("auth.MemberErased", "member-1", 1, {"member_id": "member-1"})
    world.visit("member-1")
    other = histories.pseudonyms().of("member-2")
    assert {item["member"] for item in (*ask("/visits"), *ask("/ratings"))} == {other}


def test_traits_are_measured_and_neither_kept_nor_told(world: Any, ask: Any) -> None:
    for branch_id in ("gangnam", "mapo", "closed"):
        world.branch(branch_id, status="closed" if branch_id == "closed" else "open")
    for number in range(6):
        world.visit(f"member-{number}", "gangnam")
        world.visit(f"member-{number}", "closed")
    (found,) = ask("/traits", limit=1)
    assert (found["branch_id"], found["visits"], found["reviews"]) == ("gangnam", 6, 0)
    assert set(found["traits"]) >= {"morning", "weekend"}
    assert world.published("branch.BranchPreferenceCreated") == []
    assert world.rows("SELECT count(*) FROM preference")[0][0] == 0


@pytest.mark.parametrize("path", ["/visits", "/ratings", "/traits"])
def test_only_services_may_ask(world: Any, path: str) -> None:
    assert world.client.get(PATH + path, headers=world.operator).status_code == 403
    assert world.client.get(PATH + path).status_code == 401


def test_pseudonyms_outlive_a_rotation_and_cannot_be_made_up() -> None:
    ring = KeyRing.generate()
    before, after = Pseudonyms(ring), Pseudonyms(ring.rotated())
    made = before.of("member-1")
    assert made == before.of("member-1") != before.of("member-2")
    assert after.member_of(made) == "member-1"
    assert after.of("member-1") != made
    for wrong in ("", "member-1", made[:-2], made[::-1], "!!", "가", "A" * 40):
        with pytest.raises(UnknownPseudonym):
            before.member_of(wrong)
    with pytest.raises(UnknownPseudonym):
        Pseudonyms(KeyRing.generate()).member_of(made)
