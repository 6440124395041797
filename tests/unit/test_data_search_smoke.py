"""The queries that a new index is tried by, and how their answers are judged."""

from typing import Any

import pytest

from data_assets.search import smoke


def branch(number: int, name: str, amenities: tuple[str, ...] = (), region: str = "서울 강남구") -> dict[str, Any]:
    return {"branch_id": f"b{number}", "name": name, "region": region, "amenities": list(amenities)}


CORPUS = {
    "branches": [
        branch(n, f"스마트피트니스 {place}점", ("parking",) if n % 2 else ()) for n, place in enumerate("가나다라")
    ],
    "amenities": [{"code": "parking", "ko": "주차"}],
}


@pytest.mark.parametrize(
    ("name", "letters"),
    [("강남점", "ㄱㄴㅈ"), ("온핏 역삼점", "ㅇㅍㅇㅅㅈ"), ("헬스", ""), ("GYM 강남점", ""), ("", "")],
)
def test_initials(name: str, letters: str) -> None:
    assert smoke.initials(name) == letters


@pytest.mark.parametrize(
    ("name", "wrong"), [("스마트피트니스 강남점", "스머트피트니스 강남점"), ("강남점", ""), ("ABCDEF", ""), ("", "")]
)
def test_a_name_with_one_key_wrong(name: str, wrong: str) -> None:
    assert smoke.mistyped(name) == wrong


@pytest.mark.parametrize(
    ("documents", "before", "now", "passed"),
    [(100, 100, 100, True), (101, 100, 102, True), (99, 100, 100, True), (98, 100, 100, False), (103, 100, 102, False),
     (0, 0, 0, True), (0, 5, 5, False)],
)  # fmt: skip
def test_an_index_is_whole(documents: int, before: int, now: int, passed: bool) -> None:
    assert smoke.whole(documents, before, now).passed is passed


def test_names_that_are_not_found_are_told() -> None:
    def nobody(queries: Any) -> Any:
        return {query: [] for query in queries}

    def everybody(queries: Any) -> Any:
        return {
            query: [{"branch_id": each["branch_id"], "name": each["name"]} for each in CORPUS["branches"]]
            for query in queries
        }

    good, bad = smoke.names(CORPUS, everybody, "s"), smoke.names(CORPUS, nobody, "s")
    assert good.passed
    assert (good.figures["name"], good.figures["initials"], good.figures["typo"]) == (1, 1, 1)
    assert not bad.passed
    assert bad.figures["name"] == 0
    assert bad.examples


def test_ranking_goes_by_what_the_corpus_says() -> None:
    asked: list[str] = []

    def well(queries: Any) -> Any:
        asked.extend(queries)
        return {query: [{"branch_id": "b1"}, {"branch_id": "b3"}, {"branch_id": "b0"}] for query in queries}

    def badly(queries: Any) -> Any:
        return {query: [{"branch_id": "b0"}, {"branch_id": "b2"}] for query in queries}

    assert smoke.ranking(CORPUS, well, "s").figures == {"ndcg": 1.0, "queries": 1}
    assert asked == ["강남구 주차"]
    assert not smoke.ranking(CORPUS, badly, "s").passed


def test_ndcg() -> None:
    assert smoke.ndcg(["a", "b"], {"a", "b"}) == 1
    assert smoke.ndcg(["x", "a"], {"a"}) == pytest.approx(0.6309, abs=1e-4)
    assert smoke.ndcg([], {"a"}) == 0
