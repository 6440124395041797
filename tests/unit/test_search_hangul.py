"""Hangul by its keys: letters, initial consonants, wrong layouts, distance; sentences made fit to be searched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_api.search.hangul import clean, distance, from_keys, initials, is_initials, jamo, split_compounds, to_keys

_SYLLABLES = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("강남", "ㄱㅏㅇㄴㅏㅁ"),
        ("과", "ㄱㅗㅏ"),
        ("값", "ㄱㅏㅂㅅ"),
        ("ㅘㄳ", "ㅗㅏㄱㅅ"),
        ("Gym 강", "gym ㄱㅏㅇ"),
        ("", ""),
    ],
)
def test_letters_in_the_order_of_their_keys(text: str, letters: str) -> None:
    assert jamo(text) == letters


def test_initial_consonants() -> None:
    assert initials("강남역 2번") == "ㄱㄴㅇ 2ㅂ"
    assert is_initials("ㄱㄴㅇ")
    assert is_initials("ㄳ")
    assert not is_initials("ㄱ")
    assert not is_initials("ㄱ남")
    assert not is_initials("ㅏㅏ")
    assert split_compounds("ㄳㄱ") == "ㄱㅅㄱ"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("rkdska", "강남"),
        ("ghdeo", "홍대"),
        ("wnck", "주차"),
        ("tkdnsk", "사우나"),
        ("rkqt", "값"),
        ("Qkrk", "빠가"),
        ("dhkdtlqfl", "왕십리"),
    ],
)
def test_korean_typed_on_the_latin_layout(keys: str, text: str) -> None:
    assert from_keys(keys) == text
    assert to_keys(text) == keys


@pytest.mark.parametrize("text", ["gym", "gangnam", "pt", "yoga", "seoul", "", "r", "rk1", "강남", "!"])
def test_what_is_no_row_of_syllables_stays_latin(text: str) -> None:
    assert from_keys(text) is None


def test_latin_typed_on_the_korean_layout() -> None:
    assert to_keys("효ㅡ") == "gym"
    assert to_keys("강남!") is None
    assert to_keys("") is None


@given(_SYLLABLES)
def test_typing_on_the_wrong_layout_can_always_be_undone(text: str) -> None:
    keys = to_keys(text)
    assert keys is not None
    read = from_keys(keys)
    # 각오 and 가고 are the same keys: a syllable may end where another begins, never more than that.
    assert read is not None
    assert jamo(read) == jamo(text)


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ("강남", "강남", 0),
        ("강냠", "강남", 1),
        ("헬스쟝", "헬스장", 1),
        ("강나", "강남", 1),
        ("헤ㄹ스장", "헬스장", 0),
    ],
)
def test_distance_counts_keys(one: str, other: str, keys: int) -> None:
    assert distance(jamo(one), jamo(other), 5) == keys


def test_a_swap_of_neighbours_is_one_mistake_and_counting_stops() -> None:
    assert distance("ab", "ba", 2) == 1
    assert distance("aaaa", "bbbb", 2) == 3
    assert distance("a", "abcdef", 2) == 3


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  강남\t역\n", "강남 역"),
        ("강\x00남", "강 남"),
        ("강\u200b남", "강남"),
        ("ｇｙｍ", "gym"),
        ("ㄱㄴㅇ ㄳ", "ㄱㄴㅇ ㄳ"),
        ("강남".encode().decode("utf-8"), "강남"),
        ("\u1100\u1161\u11bc", "강"),
        ("\ud800강", "강"),
        ("🏋️ 강남", "🏋️ 강남"),
        ("\x00\x01\x02", ""),
    ],
)
def test_sentences_are_made_fit_to_be_searched(text: str, cleaned: str) -> None:
    assert clean(text, 200) == cleaned


@given(st.text(max_size=500))
def test_cleaning_knows_no_bounds_but_its_own(text: str) -> None:
    cleaned = clean(text, 50)
    assert len(cleaned) <= 50
    assert clean(cleaned, 50) == cleaned
    assert cleaned.isprintable() or not cleaned or all(ord(c) > 127 or c.isprintable() for c in cleaned)
