"""The labelled queries (tests/benchmarks/search): how well the product answers them, beside BM25 on raw words."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from platform_api.search.engines.embedded import EmbeddedEngine
from platform_api.search.finding import Asked, find
from tests.benchmarks.search.corpus import MOMENT, Labelled, documents, labelled_branches, labelled_queries
from tests.benchmarks.search.grading import grade, grades, ndcg
from tests.benchmarks.search.peers import Tantivy


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Labelled, float, float]]]:
    """(query, nDCG@10 of the product, of the baseline)."""
    branches = labelled_branches()
    folder = Path(tmp_path_factory.mktemp("quality"))
    engine = EmbeddedEngine(folder / "index")
    with engine.writer() as writer:
        writer.apply(documents(branches))
    baseline = Tantivy(folder / "words")
    baseline.fill(branches)
    found = []
    for query in labelled_queries(branches):
        latitude, longitude = query.at or (None, None)
        answer = find(engine, Asked(query.text, latitude, longitude), MOMENT)
        ours = ndcg([result.branch_id for result in answer.results], query.grades)
        found.append((query, ours, ndcg(baseline.search(query.text), query.grades)))
    yield found


def test_the_set_is_large_enough_and_every_query_has_an_answer() -> None:
    branches = labelled_branches()
    queries = labelled_queries(branches)
    assert len(branches) >= 300
    assert len({query.text for query in queries}) >= 150
    assert all(query.grades for query in queries)
    assert {value for query in queries for value in query.grades.values()} == {1, 2, 3}


def test_far_better_than_words_alone(scores: list[tuple[Labelled, float, float]]) -> None:
    ours, plain = fmean(score for _, score, _ in scores), fmean(score for *_, score in scores)
    assert ours > 0.90
    assert ours > plain + 0.4


def test_as_good_on_queries_that_nothing_was_tuned_on(scores: list[tuple[Labelled, float, float]]) -> None:
    held_out = [ours for query, ours, _ in scores if query.held_out]
    assert len(held_out) >= 40
    assert fmean(held_out) > 0.88


@pytest.mark.parametrize("kind", ["typo", "keyboard", "initials", "english", "hours", "price", "name", "place"])
def test_no_kind_of_query_is_left_behind(scores: list[tuple[Labelled, float, float]], kind: str) -> None:
    assert fmean(ours for query, ours, _ in scores if query.kind == kind) > 0.85


def test_grades_follow_the_intent_that_was_written_down() -> None:
    branch = {
        "branch_id": "a", "name": "온핏 강남점", "address": "서울특별시 강남구 역삼동 1", "latitude": 37.5, "longitude": 127.0,
        "hours": {"mon": [["06:00", "23:00"]], "fri": [["20:00", "02:00"]]}, "amenities": ["parking"],
        "prices": [{"plan": "m", "won": 50_000, "months": 1}], "ratings": [4, 5], "truth": {"quiet": 0.9, "clean": 0.3},
    }  # fmt: skip
    cases = [
        ({"area": ["강남구"]}, 3),
        ({"area": ["마포구"]}, 0),
        ({"near": [37.5, 127.01, 2.0]}, 3),
        ({"near": [37.5, 127.03, 2.0]}, 2),
        ({"near": [37.5, 127.2, 2.0]}, 0),
        ({"name": ["온핏"], "amenities": ["parking"]}, 3),
        ({"name": ["블랙짐"]}, 0),
        ({"amenities": ["pool"]}, 0),
        ({"amenities": ["parking", "pool"]}, 1),
        ({"without": ["parking"]}, 0),
        ({"max_won": 40_000}, 0),
        ({"min_won": 40_000, "max_won": 60_000}, 3),
        ({"always": True, "amenities": ["parking"]}, 1),
        ({"open_at": ["mon 06:00"]}, 3),
        ({"open_at": ["sat 01:30"]}, 3),
        ({"open_at": ["sat 02:00"]}, 0),
        ({"min_rating": 4.5}, 3),
        ({"traits": ["quiet"]}, 3),
        ({"traits": ["quiet", "clean"]}, 2),
        ({"traits": ["clean"]}, 1),
        ({"either": [{"area": ["마포구"]}, {"area": ["강남구"]}]}, 3),
    ]
    for intent, expected in cases:
        assert grade(branch, intent) == expected, intent
    assert grades([branch], {"area": ["강남구"], "prefer": "price"}) == {"a": 3}


def test_the_measure_is_one_for_the_ideal_order_and_zero_for_none() -> None:
    given = {"a": 3, "b": 2, "c": 1}
    assert ndcg(["a", "b", "c"], given) == pytest.approx(1.0)
    assert ndcg(["c", "b", "a"], given) < 1.0
    assert ndcg(["x"], given) == 0.0
    assert ndcg([], {}) == 0.0
