"""Occupancy: never below zero, the same whatever order the log arrives in, and nobody stays for ever."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from platform_api.access.occupancy import Passage, fold

START = datetime(2026, 6, 15, tzinfo=UTC)
STAY = timedelta(hours=12)


def at(minutes: float, who: str | None, inward: bool = True, entry_id: str = "") -> Passage:
    return Passage(START + timedelta(minutes=minutes), entry_id or f"{minutes}-{who}-{inward}", who, inward)


def count(*passages: Passage, minutes: float = 600) -> int:
    return fold(passages, START + timedelta(minutes=minutes), STAY)


def test_in_and_out() -> None:
    assert count() == 0
    assert count(at(1, "a"), at(2, "b")) == 2
    assert count(at(1, "a"), at(2, "b"), at(3, "a", False)) == 1
    assert count(at(1, "a"), at(2, "a")) == 1


def test_exit_without_entry_changes_nothing() -> None:
    assert count(at(1, "a", False), at(2, None, False), at(3, "b")) == 1


def test_exit_of_nobody_known_takes_out_the_one_longest_inside() -> None:
    assert count(at(1, "a"), at(2, "b"), at(3, None, False)) == 1
    # ... so that the one recognised leaving afterwards is not taken out twice.
    assert count(at(1, "a"), at(2, "b"), at(3, None, False), at(4, "b", False)) == 0


def test_late_and_doubled_log() -> None:
    first, second, third = at(1, "a"), at(2, "a", False), at(3, "a")
    assert count(third, first, second, first, third) == 1
    assert count(second, first) == 0


def test_forgotten_inside_age_out_and_do_not_spoil_later_counts() -> None:
    assert count(at(0, "a"), minutes=12 * 60 - 1) == 1
    assert count(at(0, "a"), minutes=12 * 60) == 0
    assert count(at(0, "a"), at(60, None, False), at(13 * 60, "b"), minutes=14 * 60) == 1


def test_the_future_does_not_count_yet() -> None:
    assert count(at(700, "a"), minutes=600) == 0


passages = st.lists(
    st.builds(
        at,
        st.integers(0, 2000),
        st.sampled_from([None, "a", "b", "c"]),
        st.booleans(),
        st.integers(0, 10**6).map(str),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(passages, st.randoms(use_true_random=False), st.integers(0, 2100))
def test_order_and_repetition_of_the_log_do_not_matter(log: list[Passage], random: object, now: int) -> None:
    log = list({p.entry_id: p for p in log}.values())
    shuffled = [*log, *log[::2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    moment = START + timedelta(minutes=now)
    result = fold(log, moment, STAY)
    assert fold(shuffled, moment, STAY) == result
    recent = [p for p in log if moment - STAY < p.at <= moment]
    assert 0 <= result <= sum(p.inward for p in recent)
