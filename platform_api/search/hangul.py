"""Hangul as it is typed: letters (jamo), initial consonants, and the two keyboard layouts.

A syllable block is three numbers in Unicode (chapter 3.12 of the standard): initial, vowel, final. Typing errors happen
at the keys, not at the blocks: 강냠 is one key away from 강남, yet half of its blocks differ. So words are compared in
the letters that the standard two-set layout (두벌식, KS X 5002) has keys for: ㅘ is ㅗㅏ, ㄳ is ㄱㅅ, ㄲ is one key.
"""

import functools
import re
import unicodedata

_FIRST = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = ("ㅏ", "ㅐ", "ㅑ", "ㅒ", "ㅓ", "ㅔ", "ㅕ", "ㅖ", "ㅗ", "ㅗㅏ", "ㅗㅐ", "ㅗㅣ", "ㅛ", "ㅜ", "ㅜㅓ", "ㅜㅔ", "ㅜㅣ", "ㅠ", "ㅡ", "ㅡㅣ", "ㅣ")  # fmt: skip
_FINALS = ("", "ㄱ", "ㄲ", "ㄱㅅ", "ㄴ", "ㄴㅈ", "ㄴㅎ", "ㄷ", "ㄹ", "ㄹㄱ", "ㄹㅁ", "ㄹㅂ", "ㄹㅅ", "ㄹㅌ", "ㄹㅍ", "ㄹㅎ", "ㅁ", "ㅂ", "ㅂㅅ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅊ", "ㅋ", "ㅌ", "ㅍ", "ㅎ")  # fmt: skip
_COMPOUNDS = {
    "ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ", "ㅢ": "ㅡㅣ", "ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ",
    "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ", "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ", "ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ",
}  # fmt: skip
_BASE, _LAST = 0xAC00, 0xD7A3

# The two-set layout, key by key; a capital counts as its small letter where it has no key of its own.
_KEYS = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnmQWERTOP",
        "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡㅃㅉㄸㄲㅆㅒㅖ",
        strict=True,
    )
)
_LETTERS = {jamo: key for key, jamo in _KEYS.items()}
_INITIALS_ONLY = re.compile(r"[ㄱ-ㅎ]{2,20}\Z")


@functools.lru_cache(maxsize=20_000)  # places and amenities, in every branch's document
def jamo(text: str) -> str:
    """The letters of `text` in the order of their keys; what is no Hangul stays, in small letters."""
    return "".join(_letters(character) for character in text.lower())


def _letters(character: str) -> str:
    code = ord(character)
    if _BASE <= code <= _LAST:
        code -= _BASE
        return _FIRST[code // 588] + _VOWELS[code % 588 // 28] + _FINALS[code % 28]
    return _COMPOUNDS.get(character, character)


@functools.lru_cache(maxsize=20_000)
def initials(text: str) -> str:
    """The initial consonants (초성): 강남역 -> ㄱㄴㅇ. Other characters stay."""
    return "".join(
        _FIRST[(ord(character) - _BASE) // 588] if _BASE <= ord(character) <= _LAST else character for character in text
    )


def is_initials(text: str) -> bool:
    """Whether `text` is nothing but two or more consonants."""
    return _INITIALS_ONLY.match(split_compounds(text)) is not None


def split_compounds(text: str) -> str:
    """Lone compound letters as their parts: ㄳ -> ㄱㅅ."""
    return "".join(_COMPOUNDS.get(character, character) for character in text)


def from_keys(text: str) -> str | None:
    """What `text`, typed on the Latin layout, is on the Korean one: rkdska -> 강남.

    None where it is no row of whole syllables, so that English words are rarely taken for Korean.
    """
    letters = keys_to_jamo(text)
    return _compose(letters) if letters else None


def keys_to_jamo(text: str) -> str | None:
    """The letters that the keys of `text` have on the Korean layout, whole syllables or not: rkdsk -> ㄱㅏㅇㄴㅏ."""
    letters = [_KEYS.get(key) or _KEYS.get(key.lower()) for key in text]
    return None if not text or None in letters else "".join(letter for letter in letters if letter)


def to_keys(text: str) -> str | None:
    """What `text`, typed on the Korean layout, is on the Latin one: 효ㅡ -> gym. None where a character has no key."""
    keys = [_LETTERS.get(letter) for letter in jamo(text)]
    return None if not text or None in keys else "".join(key for key in keys if key)


def _compose(letters: str) -> str | None:
    """Whole syllables out of `letters`; None where one is left over. A final goes to the next syllable before a vowel."""
    syllables, i, n = [], 0, len(letters)
    while i < n:
        if letters[i] not in _FIRST or i + 1 >= n or letters[i + 1] in _FIRST:
            return None
        first, i = letters[i], i + 1
        vowel = letters[i : i + 2] if letters[i : i + 2] in _VOWELS else letters[i]
        if vowel not in _VOWELS:
            return None
        i += len(vowel)
        final = ""
        for length in (2, 1):
            taken = letters[i : i + length]
            after = letters[i + length : i + length + 1]
            if len(taken) == length and taken in _FINALS and (not after or after in _FIRST):
                final = taken
                break
        i += len(final)
        code = _BASE + _FIRST.index(first) * 588 + _VOWELS.index(vowel) * 28 + _FINALS.index(final)
        syllables.append(chr(code))
    return "".join(syllables)


def distance(one: str, other: str, limit: int) -> int:
    """Keys to press differently to get from `one` to `other`, both as `jamo` gives them: insertions, deletions,
    replacements, swaps of neighbours (restricted Damerau-Levenshtein). Counting stops at `limit + 1`."""
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def clean(text: str, longest: int) -> str:
    """`text` as it can be searched: one form for each character (NFKC), no control characters, single spaces, cut."""
    # Normalising a million characters to use two hundred would be work for nothing; NFKC makes at most 18 of one.
    normal = unicodedata.normalize("NFKC", text[: 4 * longest])
    # NFKC turns lone compatibility letters (ㄱ) into conjoining ones; they are given back.
    kinds = ((c, unicodedata.category(c)) for c in normal)
    plain = "".join(_CONJOINING.get(c, c) if kind[0] not in "CZ" else " " for c, kind in kinds if kind != "Cf")
    return " ".join(plain.split())[:longest].strip()


_CONJOINING = {
    **{chr(0x1100 + i): letter for i, letter in enumerate(_FIRST)},
    **{unicodedata.normalize("NFKC", letter): letter for letter in (chr(code) for code in range(0x3131, 0x3164))},
}
