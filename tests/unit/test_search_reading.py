"""Korean sentences, understood."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_api.search.filters import read as phrases
from platform_api.search.reading import LONGEST, MOST_WORDS, Reading, read

TUESDAY = 1


def understood(text: str, *known: str) -> Reading:
    return read(text, TUESDAY, lambda words: set(words) & set(known))


def wishes(text: str) -> dict[str, Any]:
    found = phrases(text, TUESDAY)[0]
    names = ("slots", "now", "always", "max_won", "min_won", "min_rating", "km", "near", "order", "either", "traits")
    return {name: value for name in names if (value := getattr(found, name))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("월 5만원 이하", {"max_won": 50_000}),
        ("오만원 이하", {"max_won": 50_000}),
        ("5만5천원 미만", {"max_won": 54_999}),
        ("50,000원", {"max_won": 50_000}),
        ("3만원대", {"min_won": 30_000, "max_won": 39_999}),
        ("3~5만원", {"min_won": 30_000, "max_won": 50_000}),
        ("십오만원 이상", {"min_won": 150_000}),
        ("이십만원", {"max_won": 200_000}),
        ("100원", {}),
        ("24시간", {"always": True}),
        ("24시", {"always": True}),
        ("연중무휴", {"always": True}),
        ("24 hours", {"always": True}),
        ("지금 영업하는", {"now": True}),
        ("영업중인", {"now": True}),
        ("새벽에 여는", {"slots": (27,)}),
        ("새벽 2시", {"slots": (26,)}),
        ("아침 6시", {"slots": (30,)}),
        ("오후 3시", {"slots": (39,)}),
        ("밤 11시까지", {"slots": (46,)}),
        ("밤 12시", {"slots": (24,)}),
        ("25시", {}),
        ("일요일에도 여는", {"slots": (6 * 24 + 14,)}),
        ("주말", {"slots": (5 * 24 + 14, 6 * 24 + 14)}),
        ("일요일 아침 10시", {"slots": (6 * 24 + 10,)}),
        ("심야", {"slots": (47,)}),
        ("도보 10분", {"km": 0.75, "near": True}),
        ("차로 10분", {"km": 4.0, "near": True}),
        ("3km 이내", {"km": 3.0, "near": True}),
        ("500m", {"km": 0.5, "near": True}),
        ("900km", {}),
        ("근처", {"near": True}),
        ("가장 가까운", {"near": True, "order": "distance"}),
        ("제일 싼", {"order": "price"}),
        ("평점 4점 이상", {"min_rating": 4.0}),
        ("후기 좋은", {"order": "rating"}),
        ("안 붐비는", {"traits": ["uncrowded"]}),
        ("홍대나 신촌", {"either": True}),
        ("사우나 있는", {}),
        ("한강뷰 3층", {}),
        ("", {}),
    ],
)
def test_set_phrases(text: str, expected: dict[str, Any]) -> None:
    assert wishes(text) == expected


def test_a_whole_sentence() -> None:
    found = understood("강남역 근처 24시간 헬스장 중에 월 6만원 이하이고 주차되는 조용한 곳")
    assert [name for name, _ in found.places] == ["강남역"]
    assert [concept.code for concept in found.wanted] == ["parking"]
    assert [concept.code for concept in found.traits] == ["quiet"]
    assert found.wishes.always
    assert found.wishes.near
    assert found.wishes.max_won == 60_000
    assert [word for word in found.words if word.role != "bonus"] == []
    assert found.corrections == []


@pytest.mark.parametrize(
    ("text", "places", "amenities", "corrections"),
    [
        (
            "강냠역에서 주챠되는 헬스쟝",
            ["강남역"],
            ["parking"],
            {("강냠역", "강남역"), ("주챠", "주차"), ("헬스쟝", "헬스장")},
        ),
        ("해운데 샤어실", ["해운대"], ["shower"], {("해운데", "해운대"), ("샤어실", "샤워실")}),
        ("여이도 필라테쓰", ["여의도"], ["pilates"], {("여이도", "여의도"), ("필라테쓰", "필라테스")}),
        ("rkdska wnck", ["강남"], ["parking"], {("rkdska wnck", "강남 주차")}),
        ("ghdeo 24tlrks", ["홍대"], [], {("ghdeo 24tlrks", "홍대 24시간")}),
        ("효ㅡ", [], [], {("효ㅡ", "gym")}),
    ],
)
def test_typing_errors_are_undone_and_told(
    text: str, places: list[str], amenities: list[str], corrections: set[tuple[str, str]]
) -> None:
    found = understood(text)
    assert [name for name, _ in found.places] == places
    assert [concept.code for concept in found.wanted] == amenities
    assert set(found.corrections) == corrections


def test_words_that_the_index_knows_are_no_typing_errors() -> None:
    assert understood("강냠역").corrections == [("강냠역", "강남역")]
    found = understood("강냠역", "강냠역")
    assert found.corrections == []
    assert [word.text for word in found.words] == ["강냠역"]


@pytest.mark.parametrize("text", ["주차 안 되는 곳", "주차 없는 강남", "주차 말고", "주차 빼고"])
def test_what_is_not_wanted(text: str) -> None:
    found = understood(text)
    assert [concept.code for concept in found.unwanted] == ["parking"]
    assert found.wanted == []


def test_names_stay_whole_where_the_index_has_them() -> None:
    found = understood("블랙짐 서면점", "블랙짐", "서면점")
    assert [word.text for word in found.words] == ["블랙짐", "서면점"]
    assert [name for name, _ in found.places] == ["서면"]
    guessed = understood("머슬펙토리").words[0]
    assert guessed.jamo is not None
    assert guessed.role == "wanted"


def test_initials_are_for_the_engine() -> None:
    found = understood("ㄱㄴㅇ 주차")
    assert [(word.initials, word.role) for word in found.words] == [("ㄱㄴㅇ", "required")]
    assert [concept.code for concept in found.wanted] == ["parking"]


def test_english() -> None:
    found = understood("quiet gym near gangnam station with parking")
    assert [name for name, _ in found.places] == ["gangnamstation"]
    assert [concept.code for concept in found.wanted] == ["parking"]
    assert [concept.code for concept in found.traits] == ["quiet"]
    assert found.corrections == []


def test_ordinary_nouns_only_count_beside_something_else() -> None:
    assert [word.role for word in understood("단백질").words] == ["wanted"]
    assert {word.role for word in understood("여의도 직장인").words} == {"bonus"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00\x01",
        "🏋️😀",
        "'; DROP TABLE branch; --",
        "name:강남 AND (주차 OR *)",
        '+-&&||!(){}[]^"~*?:\\/',
        "ㅏㅏㅏ",
        "ㄱ",
        "%%%",
        "\u202e강남",
    ],
)
def test_odd_sentences_are_read_without_complaint(text: str) -> None:
    understood(text)


def test_a_long_sentence_is_cut() -> None:
    found = understood("가나다라 " * 5000)
    assert len(found.text) <= LONGEST
    assert len(found.words) <= MOST_WORDS


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.text("강남역홍대주차24시간만원이하ㄱㄴㅏㅑrkdska 0123456789~", max_size=60))
def test_any_sentence_can_be_read(text: str) -> None:
    found = understood(text)
    assert len(found.words) <= MOST_WORDS
    assert all(0 <= slot < 168 for slot in found.wishes.slots)
