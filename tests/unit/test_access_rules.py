"""Rules of memberships: what is accepted, and what a member is told."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from platform_api.access.rules import RuleError, Terms, check_period, check_week, standing, with_freeze

NOON = datetime(2026, 6, 15, 3, 0, tzinfo=UTC)  # noon in Seoul


def terms(**changes: Any) -> Terms:
    base: dict[str, Any] = {
        "valid_from": date(2026, 1, 1),
        "valid_until": date(2026, 12, 31),
        "branch_ids": ["gangnam"],
        "freezes": [],
        "blocked": None,
    }
    return Terms(**{**base, **changes})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "membership_none"),
        ([terms()], None),
        ([terms(branch_ids=["*"])], None),
        ([terms(branch_ids=["mapo"])], "branch_not_allowed"),
        ([terms(valid_until=date(2026, 6, 15))], None),
        ([terms(valid_until=date(2026, 6, 14))], "membership_expired"),
        ([terms(valid_until=None)], None),
        ([terms(valid_from=date(2026, 6, 16))], "membership_not_started"),
        ([terms(freezes=[{"from": "2026-06-15", "until": "2026-06-15"}])], "membership_frozen"),
        ([terms(freezes=[{"from": "2026-06-16", "until": "2026-06-20"}])], None),
        ([terms(blocked="unpaid")], "blocked_unpaid"),
        ([terms(blocked="unpaid"), terms()], None),
        ([terms(blocked="banned", branch_ids=["mapo"]), terms()], "blocked_banned"),
        ([terms(valid_until=date(2026, 1, 2)), terms(branch_ids=["mapo"])], "membership_expired"),
    ],
)
def test_standing(given: list[Terms], reason: str | None) -> None:
    assert standing(given, "gangnam", NOON, "Asia/Seoul") == reason


def test_days_are_those_of_the_branch() -> None:
    ended = [terms(valid_until=date(2026, 6, 14))]
    late_evening_in_new_york = datetime(2026, 6, 15, 3, 0, tzinfo=UTC)
    assert standing(ended, "gangnam", late_evening_in_new_york, "America/New_York") is None
    assert standing(ended, "gangnam", late_evening_in_new_york, "Asia/Seoul") == "membership_expired"


@pytest.mark.parametrize(
    "week",
    [
        None,
        {},
        {"mon": []},
        {"mon": [["06:00", "23:00"]]},
        {"sun": [["00:00", "24:00"]]},
        {"fri": [["06:00", "09:00"], ["09:00", "12:00"], ["22:00", "02:00"]]},
    ],
)
def test_good_hours(week: dict[str, Any] | None) -> None:
    check_week(week)


@pytest.mark.parametrize(
    "week",
    [
        {"monday": []},
        {"mon": "06:00-23:00"},
        {"mon": [["06:00"]]},
        {"mon": [["6:00", "23:00"]]},
        {"mon": [["06:00", "25:00"]]},
        {"mon": [["06:60", "07:00"]]},
        {"mon": [["24:00", "06:00"]]},
        {"mon": [[6, 23]]},
        {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]},
        {"mon": [["22:00", "02:00"], ["23:00", "23:30"]]},
        {"mon": [["00:00", "00:30"]] * 7},
        {"mon": [["06:00\n", "23:00"]]},
    ],
)
def test_bad_hours(week: dict[str, Any]) -> None:
    with pytest.raises(RuleError) as caught:
        check_week(week)
    assert caught.value.code == "hours_invalid"


def test_freezes_lie_within_do_not_overlap_and_stay_in_order() -> None:
    first = with_freeze(terms(), date(2026, 7, 1), date(2026, 7, 10))
    both = with_freeze(terms(freezes=first), date(2026, 3, 1), date(2026, 3, 1))
    assert [freeze["from"] for freeze in both] == ["2026-03-01", "2026-07-01"]
    for start, end, code in [
        (date(2026, 7, 10), date(2026, 7, 12), "freeze_overlaps"),
        (date(2026, 6, 20), date(2026, 8, 1), "freeze_overlaps"),
        (date(2025, 12, 31), date(2026, 1, 2), "freeze_outside"),
        (date(2026, 12, 30), date(2027, 1, 1), "freeze_outside"),
        (date(2026, 8, 2), date(2026, 8, 1), "freeze_invalid"),
    ]:
        with pytest.raises(RuleError) as caught:
            with_freeze(terms(freezes=both), start, end)
        assert caught.value.code == code


def test_period_may_be_one_day_or_open() -> None:
    check_period(date(2026, 1, 1), date(2026, 1, 1))
    check_period(date(2026, 1, 1), None)
    with pytest.raises(RuleError):
        check_period(date(2026, 1, 2), date(2026, 1, 1))
