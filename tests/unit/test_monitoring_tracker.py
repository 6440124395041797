"""From echoes to verdicts: how many misses, how soon, and how often wrongly."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_api.monitoring.prober.lag import Lag
from platform_api.monitoring.prober.schedule import Schedule, phase_of, until_slot
from platform_api.monitoring.states import Answering, Cleared, Silent, Suspected
from platform_api.monitoring.tracker import FALSE_ALARM, Background, Rules, Tracker

T = datetime(2026, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)


def test_a_miss_makes_suspect_and_the_fourth_in_a_row_silent_since_the_first() -> None:
    tracker = Tracker(Rules())
    assert tracker.hit(T) is None
    assert tracker.miss(T + S, "timeout") == Suspected(T + S)
    assert tracker.quick
    assert tracker.miss(T + 2 * S) is None
    assert tracker.miss(T + 3 * S) is None
    assert tracker.miss(T + 4 * S, "refused") == Silent(T + S, "refused")
    assert not tracker.quick


def test_an_answer_in_between_begins_anew() -> None:
    tracker = Tracker(Rules())
    for _ in range(3):
        assert tracker.miss(T) in (Suspected(T), None)
    assert tracker.hit(T) == Cleared()
    assert tracker.miss(T + S) == Suspected(T + S)


def test_silence_ends_after_three_answers_in_a_row() -> None:
    tracker = Tracker(Rules(), silent=True)
    assert [tracker.hit(T), tracker.hit(T), tracker.miss(T)] == [None, None, None]
    assert [tracker.hit(T), tracker.quick, tracker.hit(T)] == [None, True, None]
    assert tracker.hit(T) == Answering()


def test_a_loose_plug_has_to_hold_longer_each_time() -> None:
    tracker = Tracker(Rules(misses=1))
    needed = []
    for _ in range(4):
        verdict = tracker.miss(T)
        assert isinstance(verdict, Silent)
        hits = 1
        while tracker.hit(T) is None:
            hits += 1
        needed.append(hits)
    assert needed == [3, 6, 12, 24]
    assert tracker.miss(T + timedelta(hours=1)) == Silent(T + timedelta(hours=1), None, 0)


@pytest.mark.parametrize(("loss", "needed"), [(0.0, 4), (0.01, 4), (0.02, 5), (0.05, 6), (0.5, 6)])
def test_lossy_lines_need_more_misses_in_the_same_time(loss: float, needed: int) -> None:
    rules = Rules()
    tracker = Tracker(rules, loss=loss)
    assert tracker.needed == needed
    tracker.miss(T)
    assert (needed - 1) * tracker.spacing == pytest.approx((rules.misses - 1) * rules.spacing)
    assert tracker.timeout <= tracker.spacing


def test_loss_is_learnt_from_blips_and_not_from_outages() -> None:
    rng = random.Random(1)
    tracker = Tracker(Rules(misses=8))
    for _ in range(3000):
        tracker.miss(T) if rng.random() < 0.05 else tracker.hit(T)
    assert 0.02 < tracker.loss < 0.09
    before = tracker.loss
    while not isinstance(tracker.miss(T), Silent):
        pass
    for _ in range(1000):
        tracker.miss(T)
    assert tracker.loss == before


def test_what_all_lose_together_is_known_in_seconds_and_counts_for_each() -> None:
    rng, background = random.Random(2), Background()
    trackers = [Tracker(Rules(misses=8), background) for _ in range(1000)]
    for tracker in trackers * 5:
        tracker.miss(T) if rng.random() < 0.05 else tracker.hit(T)
    assert 0.03 < background.loss < 0.07
    assert Tracker(Rules(), background).needed >= 5
    before = background.loss
    for tracker in trackers:
        for _ in range(20):
            tracker.miss(T)
    assert background.loss == before


def test_false_alarms_stay_under_the_promise_at_five_percent() -> None:
    """Chance of n misses in a row, for the n that is asked for, once the loss is known."""
    tracker = Tracker(Rules(), loss=0.05)
    assert 0.05**tracker.needed < FALSE_ALARM


@settings(max_examples=200)
@given(st.lists(st.booleans(), max_size=60), st.floats(0, 0.3))
def test_verdicts_alternate_whatever_comes(echoes: list[bool], loss: float) -> None:
    tracker = Tracker(Rules(), loss=loss)
    silent = suspect = False
    for number, good in enumerate(echoes):
        verdict = tracker.hit(T + number * S) if good else tracker.miss(T + number * S)
        match verdict:
            case Suspected():
                assert {silent, suspect} == {False}
                suspect = True
            case Cleared():
                assert [suspect, silent] == [True, False]
                suspect = False
            case Silent(since):
                assert not silent
                assert since <= T + number * S
                silent, suspect = True, False
            case Answering():
                assert silent
                silent = False
        assert tracker.silent == silent
        assert 0.0 <= tracker.loss <= 1.0


def test_items_spread_evenly_over_the_interval_and_keep_their_place() -> None:
    phases = [phase_of(f"item-{number}") for number in range(10_000)]
    tenths = [sum(1 for phase in phases if tenth <= phase * 10 < tenth + 1) for tenth in range(10)]
    assert all(850 < count < 1150 for count in tenths)
    for wall in (0.0, 1_767_225_600.0, 1_767_225_603.7):
        wait = until_slot(wall, 0.35, 10.0)
        assert 0 < wait <= 10
        assert (wall + wait) % 10 == pytest.approx(3.5)


def test_the_schedule_gives_the_longest_due_first_and_each_once() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 5.0)
    schedule.add("b", 3.0)
    schedule.add("a", 1.0)
    schedule.add("c", 2.0)
    schedule.remove("c")
    assert schedule.pop(0.5) is None
    assert schedule.pop(10.0) == (1.0, "a")
    assert schedule.pop(10.0) == (3.0, "b")
    assert schedule.pop(10.0) is None
    assert schedule.wait(10.0, 0.5) == 0.5


def test_lag_is_remembered_by_when_it_was() -> None:
    lag = Lag()
    lag.note(10.0, 0.8)
    lag.note(12.0, 0.01)
    assert lag.since(9.5) == 0.8
    assert lag.since(11.0) == 0.0
