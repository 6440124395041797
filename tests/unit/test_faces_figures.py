"""What is said of a new face model beside the live one, and of the thresholds of any version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_assets.faces import figures, limits, pictures
from data_assets.failures import PermanentFailure
from ml_bentos.face import calibration, evaluation, resampling
from ml_bentos.face.distributions import as_strangers, centre, template
from ml_bentos.face.population import METADATA, Population
from ml_bentos.face.protocol import draw, search
from ml_bentos.face.resampling import Trials
from ml_bentos.face.synthetic import filler
from ml_bentos.face.thresholds import Thresholds
from ml_bentos.face.vectors import normalise

People = dict[str, NDArray[np.float32]]
SIZE = 64


def people(
    prefix: str, count: int, noise: float, seed: int, photos: int = 3, worse: Callable[[int], bool] | None = None
) -> People:
    """Made-up people: a direction each, photos about it; `worse` says whose photos scatter twice as far. The same people and noise for
    the same seed, so that models differ by how far photos scatter alone."""
    rng = np.random.default_rng(seed)
    common = 0.35 * normalise(np.random.default_rng(0).standard_normal(SIZE).astype(np.float32))
    found = {}
    for i in range(count):
        person = normalise(rng.standard_normal(SIZE).astype(np.float32))
        scatter = normalise(rng.standard_normal((photos, SIZE)).astype(np.float32))
        far = 2 * noise if worse is not None and worse(i) else noise
        found[f"{prefix}{i:04}"] = normalise(person + far * scatter + common)
    return found


def world(members: float, reference: float, counts: tuple[int, int] = (120, 400)) -> dict[str, People]:
    """A model by how far photos of members and of the reference set scatter under it."""
    return {"members": people("m", counts[0], members, 1), "reference": people("r", counts[1], reference, 2)}


@pytest.fixture(scope="module")
def better() -> dict[str, Any]:
    """Better for members, worse for the reference set."""
    groups = {f"m{i:04}": ("first", "second", "third")[min(i // 50, 2)] for i in range(120)}
    return figures.evaluated(world(0.9, 1.3), world(1.2, 0.9), groups)


def test_a_model_that_scatters_less_is_better_in_every_figure(better: dict[str, Any]) -> None:
    for part, good, bad in (("members", "new", "live"), ("reference", "live", "new")):
        of = better[part]
        assert of[good]["fnmr"]["1e-3"]["value"] < of[bad]["fnmr"]["1e-3"]["value"]
        assert of[good]["eer"] < of[bad]["eer"]
        assert of[good]["fnir"]["1000"]["value"] < of[bad]["fnir"]["1000"]["value"]
    assert better["members"]["gain"]["fnmr"]["low"] > 0
    assert better["members"]["gain"]["fnir_1000"]["low"] > 0
    assert better["reference"]["gain"]["fnmr"]["high"] < 0
    assert better["reference"]["gain"]["fnir_10000"]["high"] < 0


def test_numbers_say_what_was_compared(better: dict[str, Any]) -> None:
    of = better["members"]
    assert (of["people"], of["photos"]) == (120, 360)
    assert (of["genuine"], of["impostor"]) == (360, 360 * 119)
    for model in ("new", "live"):
        rate = of[model]["fnmr"]["1e-3"]
        assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
        assert of[model]["fnir"]["1000"]["value"] <= of[model]["fnir"]["10000"]["value"]
        assert len(of[model]["det"]["fmr"]) == len(of[model]["det"]["fnmr"]) == figures.DET_POINTS
        assert of[model]["det"]["fnmr"] == sorted(of[model]["det"]["fnmr"], reverse=True)


def test_what_too_few_comparisons_cannot_carry_is_no_number(better: dict[str, Any]) -> None:
    assert better["members"]["new"]["fnmr"]["1e-4"] is None  # 42,840 comparisons
    assert better["reference"]["new"]["fnmr"]["1e-4"] is not None  # 478,800
    assert better["reference"]["new"]["fnmr"]["1e-5"] is None
    few = figures.evaluated(world(0.9, 0.9, (20, 60)), world(0.9, 0.9, (20, 60)), {})
    assert few["members"]["new"]["fnmr"]["1e-3"] is None
    assert few["members"]["gain"] == {"fnmr": None, "fnir_1000": None, "fnir_10000": None}


def test_the_same_model_gains_and_loses_nothing() -> None:
    same = figures.evaluated(world(1.0, 1.0), world(1.0, 1.0), {})
    for part in figures.PARTS:
        assert all(gain == {"gain": 0.0, "low": 0.0, "high": 0.0} for gain in same[part]["gain"].values() if gain), part


def test_groups_are_told_apart_and_small_ones_are_said_to_be_small(better: dict[str, Any]) -> None:
    rows = {row["group"]: row for row in better["members"]["groups"]}
    assert {name: row["people"] for name, row in rows.items()} == {"first": 50, "second": 50, "third": 20}
    assert [row["too_few"] for row in rows.values()] == [False, False, True]
    assert rows["first"]["comparisons"] == {"fnmr": 150, "fmr": 150 * 119}
    assert rows["first"]["gain"]["fnmr"]["gain"] > 0
    assert "gain" not in rows["third"]


def test_a_group_that_pays_for_the_others_is_seen() -> None:
    live, new = world(0.9, 0.9), world(0.9, 0.9)
    new["members"] = people("m", 120, 0.9, 1, worse=lambda i: i % 3 == 0)
    found = figures.evaluated(new, live, {f"m{i:04}": "unlucky" if i % 3 == 0 else "lucky" for i in range(120)})
    rows = {row["group"]: row for row in found["members"]["groups"]}
    assert rows["unlucky"]["gain"]["fnmr"]["high"] < 0
    assert rows["unlucky"]["new"]["fnmr"] > 3 * rows["lucky"]["new"]["fnmr"]


def test_models_that_saw_different_photos_are_not_compared() -> None:
    live, new = world(0.9, 0.9), world(0.9, 0.9)
    del new["members"]["m0003"]
    with pytest.raises(ValueError, match="same photos of the members"):
        figures.evaluated(new, live, {})


def test_without_a_live_model_and_without_members_the_rest_is_told() -> None:
    found = figures.evaluated({"members": {}, "reference": people("r", 120, 1.0, 2)}, None, {})
    assert set(found) == {"reference"}
    assert (found["reference"]["live"], found["reference"]["gain"]) == (None, None)
    assert found["reference"]["new"]["fnmr"]["1e-3"]["low"] <= found["reference"]["new"]["fnmr"]["1e-3"]["high"]


def test_the_rate_is_that_of_the_evaluation_module() -> None:
    """The quick way and the plain one come to the same."""
    faces = people("p", 60, 1.1, 5)
    population = calibration.population_of(faces)
    trials = resampling.comparisons(centre(faces, population.mean), population)
    for fmr in (1e-3, 1e-2):
        assert trials.missed(fmr) == evaluation.fnmr_at_fmr(trials.genuine, trials.impostor, fmr)
    once = np.ones((1, 60), np.float32)
    assert trials.missed_again(1e-2, once)[0] == pytest.approx(trials.missed(1e-2), abs=1 / 180)


def test_people_drawn_again_are_counted_as_often_as_they_were_drawn() -> None:
    """Against scores written out by hand: a person drawn twice has twice the comparisons, and nobody is an impostor to themselves."""
    faces = people("p", 12, 1.6, 6)
    population = calibration.population_of(faces)
    trials = resampling.comparisons(centre(faces, population.mean), population)
    drawn = resampling.people_drawn(12, draws=300, seed=3)
    quick = trials.missed_again(0.05, drawn)
    for times, rate in list(zip(drawn.astype(int), quick, strict=True))[:40]:
        genuine = np.repeat(trials.genuine, times[trials.owner])
        impostor = np.sort(np.repeat(trials.impostor, times[trials.probe] * times[trials.against]))[::-1]
        cut = impostor[int(0.05 * len(impostor) + 1e-9)]
        assert rate == pytest.approx(np.mean(genuine <= cut))


def test_the_interval_holds_the_truth_most_of_the_time() -> None:
    """People whose own rates differ widely: an interval over comparisons would be far too narrow."""
    held, truth = 0, 0.25
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rates = rng.beta(0.5, 1.5, 80)
        wrong = rng.random((80, 8)) < rates[:, None]
        owner = np.repeat(np.arange(80), 8)
        impostor, probe = np.linspace(-2.0, 0.5, 4000, dtype=np.float32), rng.integers(0, 80, 4000)
        trials = Trials.of(
            80, np.where(wrong, -1.0, 1.0).ravel().astype(np.float32), owner, impostor, probe, np.full(4000, -1)
        )
        low, high = resampling.limits(trials.missed_again(0.01, resampling.people_drawn(80, draws=300, seed=seed)))
        held += low <= truth <= high
    assert held >= 51


def test_no_error_among_few_is_no_promise_of_none() -> None:
    found = figures.evaluated(world(0.2, 0.2), world(0.2, 0.2), {})
    assert found["members"]["new"]["fnmr"]["1e-3"]["value"] == 0
    assert found["members"]["new"]["fnmr"]["1e-3"]["high"] == pytest.approx(3 / 120)


def test_whoever_the_population_was_measured_on_scores_as_a_newcomer_would() -> None:
    faces = people("p", 150, 0.9, 7)
    population = calibration.population_of(faces)
    embeddings = centre(faces, population.mean)
    away = {person: vectors for person, vectors in embeddings.items() if person != "p0000"}
    templates = np.concatenate([template(vectors) for vectors in away.values()])
    without = Population(population.mean, np.cov(templates.T).astype(np.float32), 1.0)
    expected = without.variance(embeddings["p0000"]) ** -0.5
    seen = np.linalg.norm(as_strangers(embeddings, population)["p0000"], axis=1)
    np.testing.assert_allclose(seen / seen[0], expected / expected[0], rtol=0.02)
    factor = np.linalg.norm(population.normalised(embeddings["p0000"]), axis=1)
    assert (seen > factor).all()


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return limits.measured("v2", people("r", 320, 0.8, 8) | people("one", 60, 0.8, 9, photos=1), "reference 1, members")


def test_a_document_is_read_as_that_of_the_shipped_version_is(measured: dict[str, Any]) -> None:
    shipped = next(METADATA.glob("*.json"))
    assert list(measured) == list(json_of(shipped))
    for name in ("measured_on", "thresholds", "verification", "cross_validation", "population"):
        assert list(measured[name]) == list(json_of(shipped)[name])
    assert measured["measured_on"] == {
        "folder": "reference 1, members", "people": 380, "photos": 1020, "draws": 40, "members": 190, "strangers": 190,
    }  # fmt: skip
    assert set(measured["metrics"]) == {"k2_gallery300", "k2_gallery1000", "k2_gallery10000"}
    assert Thresholds.from_dict(measured["thresholds"]).model_version == "v2"
    assert Population.from_dict(measured["population"]).mean.shape == (SIZE,)


def test_thresholds_hold_for_people_they_were_not_measured_on(measured: dict[str, Any]) -> None:
    thresholds, population = Thresholds.from_dict(measured["thresholds"]), Population.from_dict(measured["population"])
    others = centre(people("other", 700, 0.8, 10), population.mean)
    outcomes = [
        search(drawn, filler(population, 1000 - len(drawn.templates), seed=seed), population)
        for seed in range(8)
        for drawn in [draw(others, 2, 200, 500, seed)]
    ]
    bar = thresholds.accept(1000)
    assert np.mean([outcome.fpir(bar) for outcome in outcomes]) <= 2 * figures.FPIR
    assert np.mean([outcome.tpir(bar) for outcome in outcomes]) > 0.9


def test_too_few_people_end_the_run_and_say_how_many_are_needed() -> None:
    few = people("r", 120, 0.8, 8) | people("one", 900, 0.8, 9, photos=1)
    with pytest.raises(PermanentFailure, match="300 people with 3 photos or more, and there are 120") as failure:
        limits.measured("v2", few, "reference 1")
    assert "300명" in failure.value.korean
    assert "NAME/*.jpg" in failure.value.english


def test_a_model_that_knows_nobody_has_no_thresholds() -> None:
    with pytest.raises(PermanentFailure, match="no photo is accepted"):
        limits.measured("v2", people("r", 320, 40.0, 8), "reference 1")


def test_pictures_show_every_rate_and_both_curves(better: dict[str, Any], measured: dict[str, Any]) -> None:
    value = {
        "figures": better, "live": {"version": "v1", "latency_ms": 5.0, "size_bytes": 1}, "latency_ms": 5.0, "size_bytes": 1,
    }  # fmt: skip
    told = pictures.of_evaluation(value)
    assert told["det"].value.startswith("![DET](data:image/png;base64,")
    rates = {(record.data["part"], record.data["rate"]): record.data["new"] for record in told["rates"].records}
    assert rates["members", "FNMR at FMR 1e-5"] == "too few comparisons"
    assert "%" in str(rates["reference", "FNIR at FPIR 0.003, gallery 10000"])
    assert {record.data["group"] for record in told["groups"].records} == {"first", "second", "third"}
    assert "against v1" in pictures.against(value)
    of_thresholds = pictures.of_thresholds(measured, "sface-2021dec-int8bq-1")
    assert of_thresholds["curve"].value.startswith("![thresholds]")
    assert of_thresholds["fpir"].value == measured["cross_validation"]["fpir"]
    assert pictures.of_thresholds(measured, "a version that is gone")["accept"].records[0].data["live"] == ""


def json_of(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8"))  # type: ignore[no-any-return]
