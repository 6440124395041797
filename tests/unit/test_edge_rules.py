"""Who may enter: the rules by table, and what holds for any hours and any clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_edge.authorization import Passage, authorize, by_mode
from access_edge.hours import DAYS, check_week, parse_moment, within, zone
from access_edge.messages import MESSAGES
from access_edge.records import Branch, Gate, Member, Membership

SEOUL, NEW_YORK = zone("Asia/Seoul"), zone("America/New_York")
# A Wednesday, 19:30 in Seoul.
AT = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)


def branch(**data: Any) -> Branch:
    return Branch(branch_id="b1", **({"timezone": "Asia/Seoul"} | data))


def gate(**data: Any) -> Gate:
    document = {
        "gate_id": "g1",
        "branch_id": "b1",
        "controller_url": "https://c",
        "controller_gate_id": "1",
        "kiosk_key_sha256": "0" * 64,
    }
    return Gate.model_validate(document | data)


def membership(**data: Any) -> Membership:
    document = {"membership_id": "s1", "member_id": "m1", "valid_from": "2026-01-01", "valid_until": "2026-12-31"}
    return Membership.model_validate(document | data)


def decide(
    *memberships: Membership,
    at: datetime = AT,
    status: str = "active",
    last: Passage | None = None,
    inside: int = 0,
    of_branch: dict[str, Any] | None = None,
    of_gate: dict[str, Any] | None = None,
) -> tuple[bool, str, str | None]:
    verdict = authorize(
        branch(**(of_branch or {})),
        gate(**(of_gate or {})),
        Member(member_id="m1", status=status),
        memberships,
        last,
        inside,
        at,
    )
    return verdict.granted, verdict.reason, verdict.warning


def passback(mode: str, minutes: float = 0) -> dict[str, Any]:
    return {"anti_passback": {"mode": mode, "minutes": minutes}}


IN = Passage("in", AT - timedelta(minutes=10))
OUT = Passage("out", AT - timedelta(minutes=10))
SOON, AHEAD = Passage("in", AT + timedelta(minutes=9)), Passage("in", AT + timedelta(days=400))

CASES = [
    ("valid", [{}], {}, True, "granted"),
    ("none", [], {}, False, "membership_none"),
    ("last day, evening", [{"valid_until": "2026-06-10"}], {}, True, "granted"),
    ("the day after", [{"valid_until": "2026-06-09"}], {}, False, "membership_expired"),
    ("first day", [{"valid_from": "2026-06-10"}], {}, True, "granted"),
    ("the day before", [{"valid_from": "2026-06-11"}], {}, False, "membership_not_started"),
    ("without an end", [{"valid_until": None}], {}, True, "granted"),
    ("an exact end", [{"valid_until": "2026-06-10T19:30:00+09:00"}], {}, False, "membership_expired"),
    ("before an exact end", [{"valid_until": "2026-06-10T19:30:01+09:00"}], {}, True, "granted"),
    ("frozen", [{"freezes": [{"from": "2026-06-01", "until": "2026-06-10"}]}], {}, False, "membership_frozen"),
    ("freeze over", [{"freezes": [{"from": "2026-06-01", "until": "2026-06-09"}]}], {}, True, "granted"),
    ("freeze to come", [{"freezes": [{"from": "2026-06-11", "until": "2026-06-20"}]}], {}, True, "granted"),
    ("unpaid", [{"blocked": "unpaid"}], {}, False, "blocked_unpaid"),
    ("banned", [{"blocked": "banned"}], {}, False, "blocked_banned"),
    ("banned on one of two", [{}, {"blocked": "banned"}], {}, False, "blocked_banned"),
    ("unpaid on one of two", [{}, {"blocked": "unpaid"}], {}, True, "granted"),
    ("this branch", [{"branch_ids": ["b0", "b1"]}], {}, True, "granted"),
    ("another branch", [{"branch_ids": ["b0"]}], {}, False, "branch_not_allowed"),
    ("the better reason", [{"branch_ids": ["b0"]}, {"valid_until": "2026-02-01"}], {}, False, "membership_expired"),
    ("in its hours", [{"hours": {"wed": [["19:00", "20:00"]]}}], {}, True, "granted"),
    ("outside its hours", [{"hours": {"wed": [["06:00", "19:30"]]}}], {}, False, "outside_hours"),
    ("branch closed", [{}], {"of_branch": {"hours": {"thu": [["06:00", "23:00"]]}}}, False, "outside_hours"),
    ("account suspended", [{}], {"status": "suspended"}, False, "blocked_banned"),
    ("account pending", [{}], {"status": "pending"}, False, "membership_none"),
    ("passback off", [{}], {"last": IN, "of_gate": passback("off")}, True, "granted"),
    ("passback hard", [{}], {"last": IN, "of_gate": passback("hard")}, False, "anti_passback"),
    ("passback hard, was out", [{}], {"last": OUT, "of_gate": passback("hard")}, True, "granted"),
    ("passback hard, never here", [{}], {"of_gate": passback("hard")}, True, "granted"),
    ("passback timeout, too soon", [{}], {"last": IN, "of_gate": passback("timeout", 11)}, False, "anti_passback"),
    ("passback timeout, over", [{}], {"last": IN, "of_gate": passback("timeout", 10)}, True, "granted"),
    (
        "passback timeout, clock set back a little",
        [{}],
        {"last": SOON, "of_gate": passback("timeout", 10)},
        False,
        "anti_passback",
    ),
    (
        "passback timeout, by a clock that was far ahead",
        [{}],
        {"last": AHEAD, "of_gate": passback("timeout", 10)},
        True,
        "granted",
    ),
    ("full", [{}], {"inside": 5, "of_branch": {"capacity": 5}}, False, "capacity_full"),
    ("room for one", [{}], {"inside": 4, "of_branch": {"capacity": 5}}, True, "granted"),
    ("full, but inside already", [{}], {"inside": 5, "last": IN, "of_branch": {"capacity": 5}}, True, "granted"),
    ("lockdown", [{}], {"of_branch": {"mode": "lockdown"}}, False, "lockdown"),
    ("emergency", [], {"of_branch": {"mode": "emergency_open"}}, True, "emergency_open"),
    ("emergency, banned", [{"blocked": "banned"}], {"of_branch": {"mode": "emergency_open"}}, True, "emergency_open"),
    ("way out", [], {"of_gate": {"direction": "out"}}, True, "exit"),
    ("way out, locked down", [], {"of_gate": {"direction": "out"}, "of_branch": {"mode": "lockdown"}}, True, "exit"),
]


@pytest.mark.parametrize(
    ("memberships", "given_", "granted", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_who_may_enter(memberships: list[dict[str, Any]], given_: dict[str, Any], granted: bool, reason: str) -> None:
    rights = [membership(**data) for data in memberships]
    assert decide(*rights, **given_)[:2] == (granted, reason)


def test_soft_anti_passback_lets_in_and_notes_it() -> None:
    assert decide(membership(), last=IN, of_gate=passback("soft")) == (True, "granted", "anti_passback")
    assert decide(membership(), last=OUT, of_gate=passback("soft")) == (True, "granted", None)


def test_a_person_the_replica_does_not_know_has_no_membership() -> None:
    assert authorize(branch(), gate(), None, [membership()], None, 0, AT).reason == "membership_none"


def test_the_day_ends_by_the_branchs_clock() -> None:
    right = membership(valid_until="2026-06-10")
    last_minute = datetime(2026, 6, 10, 14, 59, tzinfo=UTC)
    assert decide(right, at=last_minute)[1] == "granted"
    assert decide(right, at=last_minute + timedelta(minutes=1))[1] == "membership_expired"
    # The same moments in New York are the morning of that day.
    assert (
        decide(right, at=last_minute + timedelta(minutes=1), of_branch={"timezone": "America/New_York"})[1] == "granted"
    )


@pytest.mark.parametrize(
    ("local", "inside"),
    [("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("05:59", True), ("06:00", False)],
)
def test_hours_over_midnight_belong_to_the_day_they_begin_on(local: str, inside: bool) -> None:
    week = {"wed": [["22:00", "06:00"]]}
    day = 10 if local >= "20:00" else 11
    at = datetime.fromisoformat(f"2026-06-{day}T{local}").replace(tzinfo=SEOUL)
    assert within(week, at, SEOUL) is inside
    assert not within(week, at + timedelta(days=1), SEOUL)


def test_hours_are_wall_clock_when_the_clocks_change() -> None:
    week = {"sun": [["01:00", "04:00"]]}
    # Spring: 01:59 EST is followed by 03:00 EDT; the range lasts two hours.
    spring = datetime(2026, 3, 8, 5, 0, tzinfo=UTC)
    open_minutes = sum(within(week, spring + timedelta(minutes=m), NEW_YORK) for m in range(0, 600))
    assert open_minutes == 120
    # Autumn: 01:00 to 02:00 comes twice; it lasts four.
    autumn = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    assert sum(within(week, autumn + timedelta(minutes=m), NEW_YORK) for m in range(0, 600)) == 240


def test_a_membership_ends_at_local_midnight_on_the_day_the_clocks_change() -> None:
    assert parse_moment("2026-03-08", NEW_YORK) == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert parse_moment("2026-03-08", NEW_YORK, end=True) == datetime(2026, 3, 9, 4, tzinfo=UTC)


times = st.integers(0, 24 * 60).map(lambda m: f"{m // 60:02d}:{m % 60:02d}")
moments = st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)).map(lambda d: d.replace(tzinfo=UTC))
zones = st.sampled_from(["Asia/Seoul", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"]).map(zone)
weeks = st.dictionaries(st.sampled_from(DAYS), st.lists(st.tuples(times, times).map(list), max_size=3), max_size=7)


@given(weeks, moments, zones)
def test_more_hours_never_close_a_door(week: dict[str, list[list[str]]], at: datetime, tz: Any) -> None:
    if within(week, at, tz):
        wider = {day: [*week.get(day, []), ["09:00", "10:00"]] for day in DAYS}
        assert within(wider, at, tz)


@given(times, times, moments, zones)
def test_a_range_every_day_opens_exactly_between_its_times(start: str, end: str, at: datetime, tz: Any) -> None:
    local = at.astimezone(tz).strftime("%H:%M")
    expected = start <= local < end if start < end else local >= start or local < end
    assert within({day: [[start, end]] for day in DAYS}, at, tz) is expected


@given(moments, zones)
def test_no_hours_are_around_the_clock_and_an_empty_week_is_closed(at: datetime, tz: Any) -> None:
    assert within(None, at, tz)
    assert not within({}, at, tz)


@given(moments, st.dates(datetime(2024, 1, 1).date(), datetime(2031, 1, 1).date()), st.integers(0, 400), zones)
def test_a_freeze_closes_exactly_its_days(at: datetime, first: Any, days: int, tz: Any) -> None:
    last = first + timedelta(days=days)
    right = membership(
        valid_from="2000-01-01", valid_until=None, freezes=[{"from": first.isoformat(), "until": last.isoformat()}]
    )
    frozen = first <= at.astimezone(tz).date() <= last
    reason = decide(right, at=at, of_branch={"timezone": str(tz)})[1]
    assert reason == ("membership_frozen" if frozen else "granted")


@given(st.sampled_from(["off", "soft", "hard", "timeout"]), st.integers(0, 600), st.integers(0, 600), st.booleans())
def test_anti_passback_never_stops_who_is_outside(mode: str, minutes: int, ago: int, was_in: bool) -> None:
    last = Passage("in" if was_in else "out", AT - timedelta(minutes=ago))
    granted, reason, warning = decide(membership(), last=last, of_gate=passback(mode, minutes))
    if not was_in or mode == "off":
        assert (granted, reason, warning) == (True, "granted", None)
    elif mode == "timeout":
        assert granted is (ago >= minutes)
    else:
        assert granted is (mode == "soft")


@given(
    moments,
    st.lists(st.sampled_from([{}, {"blocked": "banned"}, {"blocked": "unpaid"}, {"valid_until": "2020-01-01"}])),
)
def test_an_emergency_opens_and_the_way_out_is_free_whoever_it_is(at: datetime, rights: list[dict[str, Any]]) -> None:
    held = [membership(**data) for data in rights]
    assert decide(*held, at=at, of_branch={"mode": "emergency_open", "capacity": 0})[0]
    assert decide(*held, at=at, of_gate={"direction": "out"}, of_branch={"mode": "lockdown", "capacity": 0})[0]
    assert not decide(*held, at=at, of_branch={"mode": "lockdown"})[0]


def test_no_person_matters_in_an_emergency_lockdown_or_on_the_way_out() -> None:
    assert by_mode(branch(), gate()) is None
    assert by_mode(branch(mode="lockdown"), gate(direction="both")) is not None


@pytest.mark.parametrize(
    "week", [{"mon": [["25:00", "26:00"]]}, {"moon": []}, {"mon": [["06:00"]]}, {"mon": [["a", "b"]]}]
)
def test_hours_that_are_none_are_refused(week: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        check_week(week)


def test_every_reason_has_words_in_both_languages() -> None:
    for reason, words in MESSAGES.items():
        assert words.ko.strip(), reason
        assert words.en.isascii(), reason
