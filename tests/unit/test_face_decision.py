"""Templates, galleries, thresholds and the decision: the rules between a vector and an open gate. No photos needed."""

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from ml_bentos.face import weights
from ml_bentos.face.decision import decide
from ml_bentos.face.gallery import Candidate, Gallery, fuse, probe_factor
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler
from ml_bentos.face.template import alike, make_template
from ml_bentos.face.thresholds import Thresholds
from ml_bentos.face.vectors import normalise

DIM = 128


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32))


@pytest.fixture(scope="module")
def thresholds() -> Thresholds:
    return Thresholds.for_version(weights.DEFAULT)


def test_a_template_is_the_direction_its_photos_share() -> None:
    person, noise = vectors(1)[0], vectors(5, 1)
    photos = [normalise(person + 0.6 * n) for n in noise]
    template = make_template(photos)
    assert template.shape == (1, DIM)
    np.testing.assert_allclose(np.linalg.norm(template, axis=1), 1, atol=1e-5)
    assert template[0] @ person > max(p @ person for p in photos)


def test_a_template_needs_a_photo() -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_template([])


def test_the_photo_of_another_person_stands_out(thresholds: Thresholds) -> None:
    person, other = vectors(2)
    photos = [normalise(person + 0.5 * n) for n in vectors(4, 3)]
    assert alike([*photos, other], thresholds) == [True, True, True, True, False]
    assert alike([person, other], thresholds) == [False, False]
    assert alike([person], thresholds) == [True]


def test_a_search_keeps_to_one_core_in_whatever_thread() -> None:
    gallery = Gallery.build([f"m{i}" for i in range(2000)], [row[None] for row in vectors(2000)], "v")

    def looked_for(probe: np.ndarray) -> tuple[str, int]:
        return gallery.search(probe)[0].member_id, faiss.omp_get_max_threads()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(looked_for, vectors(6)))
    assert found == [(f"m{i}", 1) for i in range(6)]


@pytest.mark.parametrize("rows", [1, 3])
def test_search_agrees_with_plain_arithmetic(rows: int) -> None:
    everyone = vectors(500 * rows).reshape(500, rows, DIM)
    gallery = Gallery.build([f"m{i}" for i in range(500)], list(everyone), "v")
    assert gallery.size == 500
    for probe in vectors(20, 9):
        expected = (everyone @ probe).max(1)
        found = gallery.search(probe)
        assert len(found) >= 2
        order = np.argsort(-expected)
        assert [c.member_id for c in found[:5]] == [f"m{i}" for i in order[:5]]
        np.testing.assert_allclose([c.score for c in found[:5]], expected[order[:5]], atol=1e-5)


def test_a_member_with_many_rows_does_not_hide_the_runner_up() -> None:
    probe = vectors(1)[0]
    twins = normalise(probe + 0.02 * vectors(6, 4))
    gallery = Gallery.build(["a", "b"], [twins, vectors(1, 5)], "v")
    assert [c.member_id for c in gallery.search(probe)] == ["a", "b"]


def test_several_frames_count_together() -> None:
    member, other = vectors(2)
    gallery = Gallery.build(["a", "b"], [member[None], other[None]], "v")
    frames = normalise(member + 0.8 * vectors(5, 6))
    together = gallery.search(frames)[0]
    assert together.member_id == "a"
    assert together.score > np.mean([gallery.search(f)[0].score for f in frames])


def test_galleries_of_none_and_of_one() -> None:
    assert Gallery.build([], [], "v").search(vectors(1)[0]) == []
    assert [c.member_id for c in Gallery.build(["a"], [vectors(1)], "v").search(vectors(1)[0])] == ["a"]


def test_a_gallery_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="twice"):
        Gallery.build(["a", "a"], [vectors(1), vectors(1)], "v")
    with pytest.raises(ValueError, match="2 members but 1"):
        Gallery.build(["a", "b"], [vectors(1)], "v")


def test_fusing_rows_gives_what_the_gallery_gives() -> None:
    everyone = vectors(40).reshape(20, 2, DIM)
    gallery = Gallery.build([f"m{i:02}" for i in range(20)], list(everyone), "v")
    probe = vectors(1, 8)[0]
    rows = [(f"m{i:02}", float(row @ probe)) for i, template in enumerate(everyone) for row in template]
    ours, theirs = fuse(rows), gallery.search(probe)
    assert [c.member_id for c in ours] == [c.member_id for c in theirs]
    np.testing.assert_allclose([c.score for c in ours], [c.score for c in theirs], atol=1e-5)


def test_strangers_scores_scatter_alike_for_every_probe() -> None:
    """Under a measured model a search multiplies the cosines by the probe's factor; the order of members stays."""
    population = Population.for_version(weights.DEFAULT)
    templates = filler(population, 3000, seed=1, spread=1.0)
    gallery = Gallery.build([f"m{i}" for i in range(3000)], list(templates[:, None]), weights.DEFAULT)
    probes = np.concatenate([filler(population, 200, seed=2, spread=0.2), filler(population, 200, seed=3, spread=2.5)])
    plain = (probes @ templates.T).std(1)
    factors = np.array([probe_factor(weights.DEFAULT, p) for p in probes])
    assert np.std(plain * factors) < 0.5 * np.std(plain)
    assert 0.9 < factors[:200].mean() / factors[200:].mean() / (plain[200:].mean() / plain[:200].mean()) < 1.1
    best = gallery.search(probes[0])
    cosines = templates @ probes[0]
    assert best[0].member_id == f"m{int(np.argmax(cosines))}"
    assert best[0].score == pytest.approx(float(cosines.max()) * factors[0], abs=1e-4)
    again = fuse([(c.member_id, c.score / float(factors[0])) for c in best], probe_factor(weights.DEFAULT, probes[0]))
    np.testing.assert_allclose([c.score for c in again], [c.score for c in best], atol=1e-4)


def test_the_threshold_rises_with_the_gallery_and_falls_with_the_fpir(thresholds: Thresholds) -> None:
    sizes = [0, 1, 10, 300, 1000, 10_000, 100_000, 10**7]
    for fpir in (0.1, 0.003, 1e-5):
        accepted = [thresholds.accept(n, fpir) for n in sizes]
        assert accepted == sorted(accepted)
        assert accepted[1] < accepted[4] < accepted[6]
    assert thresholds.accept(1000, 0.01) < thresholds.accept(1000, 0.003) < thresholds.accept(1000, 1e-4)
    with pytest.raises(ValueError, match="fpir"):
        thresholds.accept(1000, 0.0)


def test_thresholds_survive_json_and_refuse_nonsense(thresholds: Thresholds) -> None:
    data = thresholds.to_dict()
    assert Thresholds.from_dict(data) == thresholds
    with pytest.raises(ValueError, match="must fall"):
        Thresholds.from_dict(data | {"log10_fmr": data["log10_fmr"][::-1]})
    with pytest.raises(KeyError):
        Thresholds.from_dict({})


def test_the_verdict(thresholds: Thresholds) -> None:
    size = 1000
    t, margin, band = thresholds.accept(size), thresholds.margin, thresholds.retry_band

    def verdict(*scores: float, strict: bool = False) -> str:
        return decide([Candidate(f"m{i}", s) for i, s in enumerate(scores)], thresholds, size, strict)

    assert decide([], thresholds, size) == "no_match"
    assert verdict(t + 0.01, t + 0.01 - margin * 1.1) == "match"
    assert verdict(t + 0.01) == "match"
    assert verdict(t + 0.01, t + 0.01 - margin * 0.9) == "unsure"
    assert verdict(t - band * 0.5, 0.0) == "unsure"
    assert verdict(t - band * 1.1, 0.0) == "no_match"
    assert verdict(t + 0.001, 0.0, strict=True) == "unsure"


def test_filler_is_nobody_and_the_same_for_a_seed() -> None:
    population = Population.for_version(weights.DEFAULT)
    rows = filler(population, 2000, seed=3)
    assert rows.shape == (2000, DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows, filler(population, 2000, seed=3))
    assert not np.array_equal(rows, filler(population, 2000, seed=4))
    likeness = (rows @ rows.T)[~np.eye(2000, dtype=bool)]
    assert likeness.max() < 0.7
    assert abs(likeness.mean()) < 0.02
    again = Population.from_dict(population.to_dict())
    np.testing.assert_array_equal(again.covariance, population.covariance)
    np.testing.assert_array_equal(population.covariance, population.covariance.T)
