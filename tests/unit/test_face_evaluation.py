"""The figures of ISO/IEC 19795 on scores whose answer is known, and calibration on a made-up population."""

import numpy as np
import pytest

from ml_bentos.face import calibration, distributions, evaluation
from ml_bentos.face.evaluation import OpenSet, det_curve, fnmr_at_fmr, interval, threshold_at_fmr
from ml_bentos.face.protocol import draw, search
from ml_bentos.face.synthetic import filler
from ml_bentos.face.vectors import normalise


def test_fmr_and_fnmr_count_what_they_say() -> None:
    genuine, impostor = np.array([0.9, 0.8, 0.4, 0.7]), np.array([0.1, 0.5, 0.3, 0.2])
    curve = det_curve(genuine, impostor)
    at = int(np.flatnonzero(curve.threshold == 0.5)[0])
    assert curve.fmr[at] == pytest.approx(0.25)
    assert curve.fnmr[at] == pytest.approx(0.25)
    assert curve.fmr[0] == 1
    assert curve.fnmr[0] == 0
    assert fnmr_at_fmr(genuine, impostor, 0.0) == pytest.approx(0.25)
    assert fnmr_at_fmr(genuine, impostor, 0.25) == 0.0
    assert evaluation.equal_error_rate(genuine, impostor) == pytest.approx(0.25)


def test_the_threshold_lets_in_no_more_than_was_allowed() -> None:
    impostor = np.random.default_rng(0).normal(size=1000)
    for fmr in (0.0, 0.003, 0.01, 0.5):
        threshold = threshold_at_fmr(impostor, fmr)
        assert np.mean(impostor >= threshold) <= fmr
        assert np.sum(impostor >= threshold) == round(fmr * 1000)
    assert np.mean(impostor >= threshold_at_fmr(impostor, 1.0)) == 1.0


def test_ties_are_not_let_in() -> None:
    assert np.sum(np.array([1.0, 1.0, 1.0, 0.0]) >= threshold_at_fmr(np.array([1.0, 1.0, 1.0, 0.0]), 0.25)) == 0


def test_no_scores_no_figures() -> None:
    with pytest.raises(ValueError, match="no scores"):
        threshold_at_fmr(np.array([]), 0.1)


def test_tpir_wants_the_right_person_first_and_above_the_threshold() -> None:
    outcome = OpenSet(
        np.array([0.9, 0.9, 0.4, -np.inf]), np.array([True, False, True, False]), np.array([0.1, 0.45, 0.2, 0.3])
    )
    assert outcome.tpir(0.5) == 0.25
    assert outcome.fnir(0.5) == 0.75
    assert outcome.tpir(0.4) == 0.5
    assert outcome.fpir(0.4) == 0.25
    assert outcome.tpir_at_fpir(0.25) == 0.5
    assert outcome.tpir_at_fpir(0.0) == 0.25


def test_the_interval_holds_the_truth_most_of_the_time() -> None:
    rng, held = np.random.default_rng(1), 0
    for seed in range(40):
        mated = rng.normal(2.0, 1.0, 200)
        outcome = OpenSet(mated, np.ones(200, bool), np.zeros(10))
        low, high = interval(outcome, lambda o: o.tpir(1.0), draws=200, seed=seed)
        held += low <= 0.8413 <= high
    assert held >= 34


def test_accuracy_of_separable_and_of_equal_scores() -> None:
    rng = np.random.default_rng(2)
    assert evaluation.verification_accuracy(rng.normal(5, 0.5, 500), rng.normal(0, 0.5, 500))[0] > 0.995
    assert 0.4 < evaluation.verification_accuracy(rng.normal(0, 1, 500), rng.normal(0, 1, 500))[0] < 0.6


@pytest.fixture(scope="module")
def population() -> dict[str, np.ndarray]:
    """400 made-up people about a common mean, one to six photos each."""
    rng = np.random.default_rng(3)
    common = 0.35 * normalise(rng.standard_normal(64).astype(np.float32))
    people = {}
    for i in range(400):
        person = normalise(rng.standard_normal(64).astype(np.float32))
        noise = normalise(rng.standard_normal((int(rng.integers(1, 7)), 64)).astype(np.float32))
        people[f"p{i:03}"] = normalise(person + 0.8 * noise + common)
    return people


def test_calibration_finds_the_mean_and_holds_its_fpir(population: dict[str, np.ndarray]) -> None:
    measured = calibration.population_of(population)
    embeddings = distributions.centre(population, measured.mean)
    assert np.linalg.norm(np.mean([v.mean(0) for v in embeddings.values()], axis=0)) < 0.05
    thresholds = calibration.thresholds_of("made-up", embeddings, measured)
    assert list(thresholds.score) == sorted(thresholds.score)
    assert 0 < thresholds.same_person < thresholds.accept(100) < thresholds.duplicate < 1
    outcomes = [search(draw(embeddings, 2, 100, 250, s), np.empty((0, 64), np.float32), measured) for s in range(20)]
    fpir = np.mean([o.fpir(thresholds.accept(100, 0.02)) for o in outcomes])
    assert 0.004 < fpir < 0.035
    assert np.mean([o.tpir(thresholds.accept(100, 0.02)) for o in outcomes]) > 0.9


def test_synthetic_templates_are_met_as_often_as_real_ones(population: dict[str, np.ndarray]) -> None:
    measured = calibration.population_of(population)
    embeddings = distributions.centre(population, measured.mean)
    drawn = draw(embeddings, 2, 150, 250, 0)
    real = (drawn.strangers @ drawn.templates.T).max(1)
    nobody = (drawn.strangers @ filler(measured, 150, seed=4).T).max(1)
    assert abs(np.median(real) - np.median(nobody)) < 0.03


def test_a_draw_keeps_people_apart(population: dict[str, np.ndarray]) -> None:
    a, b = draw(population, 3, 50, 200, 1), draw(population, 3, 50, 200, 1)
    np.testing.assert_array_equal(a.probes, b.probes)
    assert len(a.templates) == len(a.probes) == 50
    assert len(a.strangers) == 200
    assert len({row.tobytes() for row in a.probes} & {row.tobytes() for row in a.strangers}) == 0
