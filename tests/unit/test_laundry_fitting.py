"""What is learnt from features: honest across helpers, calibrated, sure only where it may be, and the same each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_bentos.laundry import evaluation, fitting
from ml_bentos.laundry.fitting import Examples, fit, sure_from

DIM = 24


def drawn(seed: int, count: int = 240, gap: float = 1.2, helpers: int = 12) -> Examples:
    """Photos of helpers who each have a look of their own; `gap` parts done from not done."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, helpers, count)
    labels = rng.integers(0, 2, count)
    looks = rng.normal(0, 0.5, (helpers, DIM))
    raw = rng.normal(0, 1, (count, DIM)) + looks[who]
    raw[:, 0] += gap * (2 * labels - 1)
    raw[:, 1] += 6

    def features(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)

    return Examples(features(raw), features(raw + rng.normal(0, 0.1, raw.shape)), labels, who.astype(str))


def test_a_difference_is_learnt_and_its_probability_is_honest() -> None:
    head = fit("hanging", "hung", "flat", drawn(1, gap=1.8)).head
    asked = drawn(2, 2000, gap=1.8)
    figures = evaluation.evaluate(head, asked.features, asked.labels, asked.helpers)
    assert figures["accuracy"] > 0.8
    assert figures["ece"] < 0.08
    assert figures["accuracy_answered"] > figures["accuracy"]
    assert 0.3 < figures["coverage"] <= 1
    assert figures["accuracy_low"] <= figures["accuracy"] <= figures["accuracy_high"]


def test_where_there_is_nothing_to_learn_nothing_is_claimed() -> None:
    examples = drawn(3, gap=0.0)
    head = fit("hanging", "hung", "flat", examples).head
    verdicts = [head.judge(vector).verdict for vector in drawn(4, gap=0.0).features]
    assert verdicts.count("unclear") > 0.9 * len(verdicts)


def test_the_same_photos_give_the_same_head() -> None:
    one, two = (fit("hanging", "hung", "flat", drawn(5)).head for _ in range(2))
    assert one.numbers() == two.numbers()
    assert np.array_equal(one.weights, two.weights)


def test_the_gate_lets_its_own_kind_in_and_others_not() -> None:
    head = fit("hanging", "hung", "flat", drawn(6)).head
    strange = np.roll(drawn(7).features, DIM // 2, axis=1)
    assert evaluation.refused(head, strange) > 0.9
    assert evaluation.refused(head, drawn(8).features) < 0.15


def test_probabilities_are_those_of_people_the_fit_has_not_seen() -> None:
    # Each helper shows one thing only: their looks say everything about their own photos, and nothing about others'.
    rng = np.random.default_rng(9)
    who = np.repeat(np.arange(16), 20)
    raw = rng.normal(0, 1, (16, DIM))[who] * 3 + rng.normal(0, 0.05, (len(who), DIM))
    features = np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)
    labels = (who % 2).astype(np.int64)
    fitted = fit("hanging", "hung", "flat", Examples(features, features, labels, who.astype(str)))
    right = (fitted.cross_fitted >= 0.5) == (labels == 1)
    assert right.mean() < 0.75
    assert np.abs(fitted.cross_fitted - 0.5).mean() < 0.35


def test_a_helper_alone_with_one_answer_breaks_nothing() -> None:
    examples = drawn(10, 120, helpers=4)
    labels = np.where(examples.helpers == "0", 1, 0)
    head = fit("hanging", "hung", "flat", Examples(examples.features, examples.mirrored, labels, examples.helpers)).head
    assert np.isfinite(head.weights).all()


probabilities = st.lists(st.floats(0.001, 0.999), min_size=5, max_size=80)


@given(probabilities, st.integers(0, 2**32 - 1))
def test_answers_from_the_bar_on_are_wrong_no_more_often_than_asked(values: list[float], seed: int) -> None:
    done = np.array(values)
    labels = np.random.default_rng(seed).integers(0, 2, len(done))
    bar = sure_from(done, labels, risk=0.1)
    assert 0.5 <= bar <= fitting.SUREST_BAR
    answered = np.maximum(done, 1 - done) > bar
    wrong = (done >= 0.5) != (labels == 1)
    if bar < fitting.SUREST_BAR and answered.any():
        # Of equal confidence at the bar itself, all or none are answered.
        assert wrong[answered].mean() <= 0.1 + 1 / answered.sum()


def test_a_judge_that_is_always_right_answers_always() -> None:
    labels = np.array([0, 1] * 20)
    done = np.where(labels == 1, 0.7, 0.3)
    assert sure_from(done, labels) == pytest.approx(0.7)
    assert sure_from(1 - done, labels) == fitting.SUREST_BAR
