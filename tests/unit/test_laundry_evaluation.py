"""The figures by which versions are compared, on cases worked out by hand."""

import itertools

import numpy as np
import pytest

from ml_bentos.laundry import evaluation


def test_calibration_error_of_a_known_case() -> None:
    # Says 0.8 each time and is right in 6 of 10: off by 0.2.
    done, labels = np.full(10, 0.8), np.array([1] * 6 + [0] * 4)
    assert evaluation.expected_calibration_error(done, labels) == pytest.approx(0.2, abs=0.25)
    assert evaluation.expected_calibration_error(done, labels, bins=1) == pytest.approx(0.2)
    assert evaluation.expected_calibration_error(np.full(10, 0.6), labels, bins=1) == pytest.approx(0.0)


def test_not_done_counts_as_an_answer_with_its_own_confidence() -> None:
    assert evaluation.expected_calibration_error(np.full(10, 0.1), np.zeros(10, int), bins=1) == pytest.approx(0.1)


def test_coverage_falls_and_ends_where_nothing_is_answered() -> None:
    done, labels = np.array([0.55, 0.72, 0.88, 0.1]), np.array([0, 1, 1, 0])
    curve = evaluation.coverage_curve(done, labels)
    assert [round(point["coverage"], 2) for point in curve][:3] == [1.0, 1.0, 0.75]
    assert curve[0]["accuracy"] == 0.75
    assert curve[-1]["accuracy"] == 1.0
    assert all(a["coverage"] >= b["coverage"] for a, b in itertools.pairwise(curve))


def test_helpers_much_alike_make_the_interval_wide() -> None:
    right = np.array([True] * 50 + [False] * 50)
    few = evaluation.accuracy_interval(right, np.array(["a"] * 50 + ["b"] * 50))
    many = evaluation.accuracy_interval(right, np.array([str(i) for i in range(100)]))
    assert few == (0.0, 1.0)
    assert 0.35 < many[0] < 0.5 < many[1] < 0.65


def test_figures_of_tasks_are_weighted_by_their_photos() -> None:
    told = {
        "hanging": {"photos": 100, "accuracy": 0.9},
        "sorting": {"photos": 300, "accuracy": 0.7},
        "folding": {"photos": 0},
    }
    flat = evaluation.flat(told, ["accuracy", "ece"])
    assert flat == {"photos": 400, "hanging_accuracy": 0.9, "sorting_accuracy": 0.7, "accuracy": 0.75}
    assert evaluation.flat({"folding": {"photos": 0}}, ["accuracy"]) == {"photos": 0}


def test_a_perfectly_honest_judge_shows_as_much_error_as_chance_says() -> None:
    rng = np.random.default_rng(8)
    for count in (40, 400):
        done = rng.uniform(0.05, 0.95, count)
        chance = evaluation.calibration_error_by_chance(done)
        shown = [
            evaluation.expected_calibration_error(done, (rng.random(count) < done).astype(int)) for _ in range(200)
        ]
        assert abs(np.mean(shown) - chance) < 0.01
    assert evaluation.calibration_error_by_chance(rng.uniform(0.05, 0.95, 4000)) < 0.03
