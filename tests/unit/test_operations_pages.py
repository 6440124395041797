"""What the operations center works out by itself: acts of several trails by time, weeks, intervals, samples of the lag."""

from typing import Any

import pytest
from flask import Flask

from platform_api.web.operations import figures, samples
from platform_api.web.operations.routes_audit import merged


def page(*minutes: int, more: bool = False) -> dict[str, Any]:
    """Acts at these minutes, newest first."""
    return {
        "items": [{"at": f"2026-01-01T00:{minute:02}:00+00:00", "action": f"a.{minute}"} for minute in minutes],
        "next_cursor": "more" if more else None,
    }


def test_acts_of_several_trails_come_by_time() -> None:
    rows, before = merged({"auth": page(9, 3), "access": page(7, 5)})
    assert [(row["domain"], row["action"]) for row in rows] == [
        ("auth", "a.9"), ("access", "a.7"), ("access", "a.5"), ("auth", "a.3"),
    ]  # fmt: skip
    assert before is None


def test_no_act_is_passed_over_where_one_trail_has_more_than_a_page() -> None:
    rows, before = merged({"auth": page(9, 8, more=True), "access": page(7, 5), "helper": page(8)})
    # What lies before minute 8 is told with the next page, where auth's own acts of that time are.
    assert [row["action"] for row in rows] == ["a.9", "a.8", "a.8"]
    assert before == "2026-01-01T00:08:00+00:00"


def test_weeks_are_what_each_window_adds_to_the_one_before() -> None:
    def of(judged: int, decided: int, agreed: int) -> list[dict[str, Any]]:
        return [{"judged": judged, "decided": decided, "agreed": agreed}]

    windows = [of(10, 4, 3), of(30, 14, 12) + of(5, 1, 0), of(35, 15, 12)]
    found = figures.weeks(windows)
    assert [(week.end, week.judged, week.decided, week.agreed) for week in found] == [
        (14, 0, 0, 0), (7, 25, 11, 9), (0, 10, 4, 3),
    ]  # fmt: skip
    assert [week.agreement for week in found] == [None, 9 / 11, 0.75]


def test_versions_are_drawn_on_one_scale() -> None:
    versions = [
        {"version": "a", "metrics": {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.95}},
        {"version": "b", "metrics": {"accuracy": 0.95}},
        {"version": "c", "metrics": {}},
    ]
    found = figures.marks("laundry", versions)
    assert set(found) == {"a", "b"}
    assert 0 < found["a"].low < found["a"].at < found["a"].high == found["b"].at < 100
    assert (found["a"].text, found["b"].text) == ("90.0% (85.0–95.0)", "95.0%")
    assert figures.marks("unknown", versions) == {}


@pytest.mark.parametrize(
    ("said", "expected"),
    [("", []), ("1.2.3", [1, 2, 3]), ("x.1.-2.½.9", [1, 9]), ("9" * 400, None), (".".join("7" * 90), [7] * 60)],
)
def test_samples_that_a_page_brings_are_numbers_and_not_too_many(said: str, expected: list[int] | None) -> None:
    with Flask("test").test_request_context(f"/?auth={said}"):
        found = samples.seen("auth")
        assert found == (expected if expected is not None else [10_000_000])
        newest = samples.with_newest({"auth": 1.26, "access": None})
    assert newest["auth"][-1] == 13
    assert len(newest["auth"]) <= samples.KEPT
    assert newest["access"] == []
