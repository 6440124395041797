"""Keywords and documents of a branch."""

import uuid

from platform_api.search.documents import build
from platform_api.search.engines.cluster import to_document
from platform_api.search.keywords import MOST, extract
from platform_api.search.lexicon import lexicon
from platform_api.search.tokens import analyzer, is_content, sentences
from tests.search_world import facts, three


def test_keywords_are_what_several_say() -> None:
    reviews = [
        "기구가 많고 조용해요",
        "조용하고 친절합니다",
        "조용한 편",
        "주차가 편해요",
        "깨끗하고 조용",
        "조용히 운동",
    ]
    found = extract("강남 근처 헬스장", reviews)
    assert found.words[0] == "조용"
    assert found.traits["quiet"] > 0.3
    assert "헬스장" not in found.words


def test_what_is_denied_is_no_keyword() -> None:
    assert "주차" not in extract("", ["주차가 안 돼서 불편해요", "주차 불가능하고 주차장이 없어요"]).words
    assert "주차" in extract("", ["주차가 편해요"]).words


def test_one_voice_is_no_trait() -> None:
    assert extract("", ["조용해요"]).traits["quiet"] < 0.2


def test_there_are_never_too_many_and_long_texts_are_cut() -> None:
    words = [f"{a}{b}{c}" for a in "가나다라마" for b in "박석찬" for c in "물불풀"]
    assert len(extract(" ".join(words) * 50, []).words) <= MOST


def test_a_document_knows_a_branch_by_all_its_names() -> None:
    made = build(three()[0])
    assert {"스마트피트니스", "강남점", "스마트피트니스강남점", "강남", "smart", "gangnam"} <= set(made.name)
    assert {"서울", "강남구", "역삼동", "역삼", "강남역"} <= set(made.place)
    assert {"주차", "주차장", "parking", "샤워실"} <= set(made.words)
    assert "ㄱㄴㅇ" in made.initials
    assert {"amenity:parking", "amenity:shower", "trait:quiet", "always"} <= set(made.terms)
    assert made.won == 59_000
    assert all(" " not in word for field in (made.name, made.place, made.words, made.jamo) for word in field)


def test_measured_traits_count_only_where_they_stand_out() -> None:
    assert "trait:quiet" in build(facts("a", "지점", traits={"quiet": 0.8})).terms
    assert "trait:quiet" not in build(facts("a", "지점", traits={"quiet": 0.5})).terms


def test_codes_that_we_do_not_know_are_searched_as_they_are() -> None:
    made = build(facts("a", "지점", amenities=("bike_racks",)))
    assert "amenity:bike_racks" in made.terms
    assert "bikeracks" in made.words


def test_hours_are_slots_unless_it_never_closes() -> None:
    gangnam, hongdae, _ = (build(each) for each in three())
    assert gangnam.slots == []
    assert hongdae.slots[:2] == [6, 7]
    assert "always" not in hongdae.terms


def test_the_clusters_document_says_the_same() -> None:
    made = build(three()[0])
    sent = to_document(made)
    assert sent["name"].split() == made.name
    assert sent["terms"] == made.terms
    assert "source" not in sent


def test_the_lexicon_is_sound() -> None:
    words = lexicon()
    assert len(words.all_places) > 200
    assert all(33 < p.latitude < 39 and 125 < p.longitude < 131 for p in words.all_places)
    assert not set(words.generic) & set(words.concepts), "a word either tells something or does not"
    assert all(p.km > 0 for p in words.all_places)
    assert words.corrected("강냠역") == "강남역"
    assert words.corrected("강") is None
    assert words.nearby(37.4979, 127.0276)[0].name == "강남역"
    assert words.nearby(0.0, 0.0) == []


def test_what_another_sentence_denies_is_said() -> None:
    assert "quiet" in extract("", ["조용해요. 안 붐벼요"]).traits
    assert "주차" not in extract("", ["주차? 안 돼요", "주차... 안 됩니다"]).words


def test_a_text_is_read_by_the_sentence_as_it_is_read_whole() -> None:
    page = "강남 근처의 헬스장입니다. 조용한 분위기에서 운동에 집중할 수 있습니다.\n수건 무료 제공\n1:1 PT, 월 5.5만원! 24시간 운영합니다."
    assert len(sentences(page)) == 5
    read = analyzer()
    assert read.words(page) == [token.form for token in read.tokens(page) if is_content(token)]
    assert sentences("") == read.words("") == []


def test_a_sentence_that_many_say_is_analysed_once() -> None:
    said = f"오늘은 {uuid.uuid4().int % 10**6}번째 방문이었어요."
    before = analyzer().remembered.cache_info()
    extract(f"넓은 헬스장입니다. {said}", [f"좋아요. {said}", f"{said} 좋아요.", said])
    after = analyzer().remembered.cache_info()
    assert after.misses - before.misses <= 3
