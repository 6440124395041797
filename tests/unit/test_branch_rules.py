"""What kind of place a branch is, how urgent a task is, and what hours are: pure rules."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_api.branch import queue, rules, traits
from platform_api.branch.models import Task
from platform_api.branch.traits import Came, Said
from platform_api.core.errors import Problem

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31))
VISITS = st.lists(st.builds(Came, MOMENTS, st.sampled_from([None, "a", "b", "c"])), max_size=30)
REVIEWS = st.lists(st.builds(Said, st.integers(1, 5), st.text(max_size=30)), max_size=20)


@given(VISITS, REVIEWS)
def test_every_trait_lies_between_0_and_1(visits: list[Came], reviews: list[Said]) -> None:
    found = traits.compute(visits, reviews, 3)
    assert all(0 <= value <= 1 for value in found.values())
    assert ("morning" in found) == bool(visits)
    assert ("rating" in found) == bool(reviews)
    if visits:
        parts = ("morning", "daytime", "evening", "night")
        assert sum(found[part] for part in parts) == pytest.approx(1, abs=1e-3)


def test_traits_of_a_known_place() -> None:
    monday = datetime(2026, 3, 2)
    visits = [Came(monday.replace(hour=7) + timedelta(days=day), "a") for day in range(4)]
    visits += [Came(datetime(2026, 3, 7, 23), None), Came(datetime(2026, 3, 7, 18), "b")]
    reviews = [Said(5, "정말 깨끗해요"), Said(5, "청결하고 친절"), Said(1, "샤워실이 별로"), Said(3, "보통")]
    found = traits.compute(visits, reviews, 3)
    assert found["morning"] == pytest.approx(4 / 6, abs=1e-4)
    assert found["night"] == found["evening"] == pytest.approx(1 / 6, abs=1e-4)
    assert found["weekend"] == pytest.approx(2 / 6, abs=1e-4)
    assert found["regulars"] == pytest.approx(4 / 5, abs=1e-4)
    assert found["clean"] == pytest.approx((2 + 1) / 4)
    assert found["showers"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["quiet"] == 0.5
    assert found["rating"] == pytest.approx(((14 + 17.5) / 9 - 1) / 4, abs=1e-4)
    assert traits.regulars(visits, 3) == ["a"]
    assert traits.regulars(visits, 1) == ["a", "b"]


@given(
    st.lists(
        st.tuples(MOMENTS, st.sampled_from(("done", "not_done", "unclear")), st.floats(0, 1)), min_size=2, max_size=8
    ),
    st.integers(0, 400),
)
def test_the_order_of_the_queue_is_that_of_the_score_at_any_time(
    judged: list[tuple[datetime, str, float]], hours: int
) -> None:
    then = datetime(2027, 1, 1) + timedelta(hours=hours)

    def score(item: tuple[datetime, str, float]) -> float:
        return (then - item[0]).total_seconds() / 3600 + 24 * queue.uncertainty(item[1], item[2])

    by_rank = sorted(judged, key=lambda item: queue.rank_at(*item, 24))
    scores = [score(item) for item in by_rank]
    assert all(a >= b - 1e-6 for a, b in itertools.pairwise(scores))


def test_unclear_counts_as_wholly_uncertain() -> None:
    assert queue.uncertainty("unclear", 0.99) == 1.0
    assert queue.uncertainty("done", 0.75) == 0.25
    assert queue.score(Task(state="confirmed", rank_at=datetime.now(UTC))) is None


@pytest.mark.parametrize(
    "week",
    [
        {"monday": [["06:00", "23:00"]]},
        {"mon": "always"},
        {"mon": [["6:00", "23:00"]]},
        {"mon": [["06:00"]]},
        {"mon": [["06:00", 23]]},
        {"mon": [["06:00", "25:00"]]},
        {"mon": [["24:00", "06:00"]]},
        {"mon": [["12:00", "14:00"], ["10:00", "11:00"]]},
        {"mon": [["22:00", "02:00"], ["23:00", "24:00"]]},
        {"mon": [["01:00", "02:00"]] * 7},
    ],
)
def test_bad_hours(week: dict[str, object]) -> None:
    with pytest.raises(Problem) as refused:
        rules.check_week(week)
    assert refused.value.code == "hours_invalid"


@pytest.mark.parametrize("week", [None, {}, {"mon": []}, {"sat": [["06:00", "12:00"], ["13:00", "02:00"]]}])
def test_good_hours(week: dict[str, object] | None) -> None:
    rules.check_week(week)


@pytest.mark.parametrize("name", ["Seoul", "", "../etc/passwd", "Asia/\0", "Mars/Olympus"])
def test_bad_zones(name: str) -> None:
    with pytest.raises(Problem) as refused:
        rules.check_zone(name)
    assert refused.value.code == "timezone_unknown"
