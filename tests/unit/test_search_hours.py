"""Opening hours."""

from datetime import datetime
from typing import Any

import pytest

from platform_api.search import hours

NIGHT = {"fri": [["18:00", "02:00"]], "sun": [["22:00", "06:00"]]}


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        (4 * 1440 + 18 * 60, True),
        (4 * 1440 + 18 * 60 - 1, False),
        (5 * 1440 + 119, True),
        (5 * 1440 + 120, False),
        (6 * 1440 + 23 * 60, True),
        (5 * 60 + 59, True),
        (6 * 60, False),
    ],
)
def test_ranges_may_run_over_midnight_and_over_the_week(minute: int, expected: bool) -> None:
    assert hours.is_open(NIGHT, minute) is expected


def test_slots_are_the_hours_that_a_range_touches() -> None:
    assert hours.slots(NIGHT) == [0, 1, 2, 3, 4, 5, *range(114, 122), 166, 167]
    assert hours.slots({"mon": [["06:30", "07:15"]]}) == [6, 7]
    assert hours.slots(None) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, True),
        ({day: [["00:00", "24:00"]] for day in hours.DAYS}, True),
        ({day: [["00:00", "00:00"]] for day in hours.DAYS}, True),
        ({day: [["00:00", "24:00"]] for day in hours.DAYS[:6]}, False),
        ({day: [["00:00", "12:00"], ["12:00", "24:00"]] for day in hours.DAYS}, True),
        ({}, False),
    ],
)
def test_what_never_closes(given: Any, expected: bool) -> None:
    assert hours.never_closes(given) is expected


def test_the_clock_is_the_branchs_own() -> None:
    moment = datetime.fromisoformat("2026-11-25T00:30:00+00:00")
    assert hours.minute_of_week(moment, "Asia/Seoul") == 2 * 1440 + 9 * 60 + 30
    assert hours.minute_of_week(moment, "America/New_York") == 1440 + 19 * 60 + 30
    assert hours.minute_of_week(moment, "no such zone") == 2 * 1440 + 9 * 60 + 30


@pytest.mark.parametrize("given", [{"mon": [["6", "x"]]}, {"mon": 3}, {"mon": [["06:00"]]}, [1], {"mon": [[6, 7]]}])
def test_hours_that_cannot_be_read_are_told(given: Any) -> None:
    assert not hours.readable(given)
