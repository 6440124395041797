"""What search hears of the other domains: late, twice, out of order, unknown, unreadable."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.events import PermanentFailure
from platform_api.search import members
from platform_api.search.branches import NotYetKnown
from platform_api.search.models import Branch, Member, Visit
from tests.search_world import branch, branch_data, deliver, visit

pytestmark = pytest.mark.usefixtures("application")


def row(model: Any, *key: Any) -> Any:
    with unit_of_work("search") as session:
        return session.get(model, key[0] if len(key) == 1 else key)


def traits(branch_id: str, at: Any, **values: float) -> None:
    data = {"branch_id": branch_id, "traits": values, "computed_at": at.isoformat(), "member_ids": []}
    deliver("branch.BranchPreferenceCreated", branch_id, 1, data)


def test_the_newest_word_on_a_branch_stands() -> None:
    branch("gangnam", 3, name="셋째")
    deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", name="둘째"))
    deliver("branch.BranchInfoChanged", "gangnam", 3, branch_data("gangnam", name="또 셋째"))
    assert row(Branch, "gangnam").name == "셋째"
    deliver("branch.BranchInfoChanged", "gangnam", 4, branch_data("gangnam", name="넷째"))
    assert row(Branch, "gangnam").name == "넷째"


def test_changed_may_come_before_created() -> None:
    deliver("branch.BranchInfoChanged", "gangnam", 2, branch_data("gangnam", name="둘째"))
    branch("gangnam", 1, name="첫째")
    assert row(Branch, "gangnam").name == "둘째"


@pytest.mark.parametrize("hours", [{"mon": "always"}, {"mon": [["6", "x"]]}, ["mon"], {"mon": [["06:00"]]}])
def test_hours_that_cannot_be_read_are_a_dead_letter(hours: Any) -> None:
    with pytest.raises(PermanentFailure):
        branch("gangnam", hours=hours)
    assert row(Branch, "gangnam") is None


def test_traits_wait_for_their_branch_and_old_ones_are_passed_over() -> None:
    now = clock.now()
    with pytest.raises(NotYetKnown):
        traits("gangnam", now, quiet=0.9)
    branch("gangnam")
    traits("gangnam", now, quiet=0.9)
    traits("gangnam", now - timedelta(hours=1), quiet=0.1)
    assert row(Branch, "gangnam").traits == {"quiet": 0.9}
    deliver("branch.BranchInfoChanged", "gangnam", 5, branch_data("gangnam", name="새 이름"))
    assert row(Branch, "gangnam").traits == {"quiet": 0.9}


def test_visits_are_counted_in_whatever_order_they_come() -> None:
    member, now = str(uuid.uuid4()), clock.now()
    for days in (3, 10, 1):
        visit(member, "gangnam", at=now - timedelta(days=days))
    found = row(Visit, member, "gangnam")
    assert found.visits == 3
    assert found.first_at == now - timedelta(days=10)
    assert found.last_at == now - timedelta(days=1)


def test_nobody_in_particular_is_no_visitor() -> None:
    data = {
        "entry_id": str(uuid.uuid4()), "branch_id": "gangnam", "gate_id": "g", "member_id": None,
        "method": "face", "reason": "granted", "at": clock.now().isoformat(),
    }  # fmt: skip
    deliver("access.AccessGranted", data["entry_id"], 1, data)
    with unit_of_work("search") as session:
        assert session.scalars(select(Visit)).all() == []


def test_preferences_come_from_where_a_member_goes() -> None:
    branch("quiet", amenities=["sauna"])
    branch("loud", amenities=["pool"])
    traits("quiet", clock.now(), quiet=0.9)
    traits("loud", clock.now(), quiet=0.0)
    member = str(uuid.uuid4())
    for _ in range(5):
        visit(member, "quiet")
    with unit_of_work("search") as session:
        taste = members.taste(session, member)
    assert taste is not None
    assert taste.traits["quiet"] > 0.1
    assert taste.amenities["sauna"] > 0.1
    assert taste.visited == {"quiet": 5}


def test_old_visits_fade() -> None:
    branch("quiet")
    traits("quiet", clock.now(), quiet=0.9)
    fresh, stale = str(uuid.uuid4()), str(uuid.uuid4())
    for _ in range(5):
        visit(fresh, "quiet")
        visit(stale, "quiet", at=clock.now() - timedelta(days=700))
    assert row(Member, fresh).taste["traits"]["quiet"] > 5 * row(Member, stale).taste["traits"]["quiet"]


def test_the_application_hears_what_the_design_says(application: Flask) -> None:
    from platform_api.core.events.registry import all_types

    assert all_types("search") == [
        "access.AccessGranted",
        "auth.MemberErased",
        "branch.BranchInfoChanged",
        "branch.BranchInfoCreated",
        "branch.BranchPreferenceCreated",
    ]
