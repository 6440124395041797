"""A Korean sentence, understood: what must hold, what would be nice, and what words are left to look for.

Steps: one form of writing (hangul.clean), keys typed on the wrong layout, set phrases (filters), morphemes (tokens),
known places, amenities and traits (lexicon), typing errors; the rest are words for the engine. No language model.
"""

import itertools
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from platform_api.search import filters
from platform_api.search.filters import Wishes
from platform_api.search.hangul import clean, from_keys, initials, is_initials, jamo, split_compounds, to_keys
from platform_api.search.lexicon import Concept, Lexicon, Place, lexicon, squeeze
from platform_api.search.query import Form, Word
from platform_api.search.tokens import Token, analyzer, is_content

LONGEST = 200
MOST_WORDS = 12
Known = Callable[[Collection[str]], set[str]]
"""Which of these words stand in the index."""

_NEGATIONS = {"없", "말", "빼", "제외", "싫", "안", "못", "아니", "않"}
_LATIN = re.compile(r"[A-Za-z]+")
_LONE_LETTERS = re.compile(r"[가-힣]*[ㄱ-ㅎㅏ-ㅣ][ㄱ-ㅎㅏ-ㅣ가-힣]*")
_SUFFIXES = ("점", "지점")
_ADDRESS = re.compile(r"[가-힣]{2,}(?:동|구|시|군|읍|면|로|길|역)\Z")


@dataclass
class Reading:
    """What was understood.

    Attributes:
        text: the sentence as it was searched.
        places: each a name as typed, and the places that it may mean.
        wanted, unwanted: amenities.
        traits: what would be nice.
        words: what is left.
        corrections: (as typed, as taken).
    """

    text: str
    wishes: Wishes = field(default_factory=Wishes)
    places: list[tuple[str, list[Place]]] = field(default_factory=list)
    wanted: list[Concept] = field(default_factory=list)
    unwanted: list[Concept] = field(default_factory=list)
    traits: list[Concept] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    corrections: list[tuple[str, str]] = field(default_factory=list)


def read(text: str, today: int, known: Known) -> Reading:
    """Understand `text`.

    Args:
        today: day of the week (0 Monday).
        known: tells which words stand in the index; they are no typing errors.
    """
    words = lexicon()
    reading = Reading(clean(text, LONGEST))
    typed = _layout(reading, words)
    reading.wishes, rest = filters.read(typed, today)
    for code in reading.wishes.traits:
        _add(reading.traits, words.concept("trait", code))
    rest = _initials(reading, rest)
    tokens = [t for t in analyzer().tokens(rest) if t.end > t.start]
    _take(reading, rest, tokens, words, known)
    _settle_topics(reading)
    del reading.words[MOST_WORDS:]
    return reading


def _settle_topics(reading: Reading) -> None:
    """Ordinary nouns decide what is an answer only where nothing else does (단백질); beside a place or an amenity they
    only count (여의도 직장인 요가)."""
    wishes = reading.wishes
    other = bool(reading.places or reading.wanted or reading.traits or wishes.said)
    other = other or any(word.role in ("wanted", "required") for word in reading.words)
    role = "bonus" if other else "wanted"
    reading.words = [replace(word, role=role) if word.role == "topic" else word for word in reading.words]


def _layout(reading: Reading, words: Lexicon) -> str:
    """The sentence with words retyped that were typed on the wrong keyboard layout."""
    text = _LONE_LETTERS.sub(lambda match: _latin(match.group(), words), reading.text)
    runs = {run for run in _LATIN.findall(text) if len(run) >= 3 and not words.knows(run.lower())}
    korean = {run: word for run in runs if (word := from_keys(run)) and len(word) >= 2}
    if any(words.knows(token.form) for word in korean.values() for token in analyzer().tokens(word)):
        # One word that makes sense shows on which layout the whole sentence was typed.
        text = _LATIN.sub(lambda m: korean.get(m.group()) or from_keys(m.group()) or m.group(), text)
        korean = {}
    if text != reading.text:
        reading.corrections.append((reading.text, text))
    for run, word in korean.items():
        # The name of a branch, perhaps, in either script.
        parts = [token.form for token in analyzer().tokens(word) if is_content(token)]
        forms = (Form(run.lower()), *(Form(form, 0.9) for form in dict.fromkeys((word, *parts))))
        reading.words.append(Word(run, forms, jamo(word)))
        text = text.replace(run, " " * len(run))
    return text


def _latin(part: str, words: Lexicon) -> str:
    latin = None if is_initials(part) else to_keys(part)
    return latin if latin and words.knows(latin) else part


def _initials(reading: Reading, text: str) -> str:
    """Words of initial consonants alone are for the engine: names and places alike may begin so."""
    for part in text.split():
        if is_initials(part):
            letters = split_compounds(part)
            reading.words.append(Word(part, initials=letters, role="required"))
            text = text.replace(part, " " * len(part), 1)
    return text


def _take(reading: Reading, text: str, tokens: list[Token], words: Lexicon, known: Known) -> None:
    groups = _spaced(text, tokens)
    names, strange = _look_up(text, tokens, groups, words, known)
    i = 0
    while i < len(tokens):
        if i in names:
            i = _name(reading, text, tokens, i, names[i], words)
            continue
        if i in strange:
            length, typed, meant = strange[i]
            if typed != meant:
                reading.corrections.append((typed, meant))
            _place_or_concept(reading, typed, meant, tokens, i + length, words)
            i += length
            continue
        for length in (4, 3, 2, 1):
            name = _joined(text, tokens, i, length)
            if name and _place_or_concept(reading, name, squeeze(name), tokens, i + length, words):
                i += length
                break
        else:
            i += _word(reading, text, tokens, i)


def _name(reading: Reading, text: str, tokens: list[Token], start: int, end: int, words: Lexicon) -> int:
    """Take the tokens up to `end` as one name that stands in the index; a place in it (강남점) is a place as well."""
    surface = text[tokens[start].start : tokens[end - 1].end].lower()
    stem = next((surface.removesuffix(suffix) for suffix in _SUFFIXES if surface.endswith(suffix)), "")
    if stem in words.places:
        reading.places.append((stem, words.places[stem]))
    forms = (Form(surface), *((Form(stem, 0.9),) if len(stem) > 1 else ()))
    reading.words.append(Word(surface, forms, jamo(surface)))
    return end


def _joined(text: str, tokens: list[Token], start: int, length: int) -> str | None:
    """The text of `length` nouns in a row; a single token may be of any kind."""
    run = tokens[start : start + length]
    if len(run) < length:
        return None
    if length == 1:
        return run[0].form
    if not all(token.is_noun for token in run) or any(b.start - a.end > 1 for a, b in itertools.pairwise(run)):
        return None
    return text[run[0].start : run[-1].end].lower()


def _place_or_concept(reading: Reading, typed: str, key: str, tokens: list[Token], after: int, words: Lexicon) -> bool:
    """Take a word that the lexicon knows. Returns False where it does not."""
    stem = next(
        (key.removesuffix(s) for s in _SUFFIXES if key.endswith(s) and key.removesuffix(s) in words.places), None
    )
    if key in words.places or stem:
        found = words.places[stem or key]
        reading.places.append((stem or key, found))
        # A branch may bear the name of a place without lying in it: the word counts as well.
        reading.words.append(Word(typed, tuple(Form(t) for t in dict.fromkeys((key, stem or key))), role="bonus"))
        return True
    concept = words.concepts.get(key)
    if concept is not None:
        if concept.kind == "trait":
            _add(reading.traits, concept)
        elif _negated(tokens, after):
            _add(reading.unwanted, concept)
        else:
            _add(reading.wanted, concept)
        return True
    return key in words.generic


def _add(concepts: list[Concept], concept: Concept) -> None:
    if concept not in concepts:
        concepts.append(concept)


def _negated(tokens: list[Token], after: int) -> bool:
    """Whether what follows a noun denies it: 없는, 말고, 빼고, 안 되는."""
    for token in tokens[after : after + 3]:
        if token.form in _NEGATIONS:
            return True
        if token.is_noun and token.tag != "XSV":
            return False
    return False


def _word(reading: Reading, text: str, tokens: list[Token], at: int) -> int:
    """Take a word that the lexicon does not know. Returns how many tokens it was."""
    token = tokens[at]
    if not is_content(token):
        return 1
    name = _joined(text, tokens, at, 2)
    if name and _ADDRESS.match(name) and tokens[at].end == tokens[at + 1].start:
        reading.words.append(Word(name, (Form(name), Form(token.form, 0.8)), jamo(name), role="required"))
        return 2
    form = token.form
    forms = [Form(form)]
    stem = next((form.removesuffix(s) for s in _SUFFIXES if form.endswith(s) and len(form) > len(s) + 1), None)
    if stem:
        forms.append(Form(stem, 0.9))
    letters = jamo(form) if token.is_noun and len(form) >= 2 else None
    role = (
        "required"
        if len(form) >= 3 and _ADDRESS.match(form)
        else "bonus"
        if not token.is_noun
        else "topic"
        if token.known and token.tag == "NNG"
        else "wanted"
    )
    reading.words.append(Word(form, tuple(forms), letters, role=role))
    return 1


def _look_up(
    text: str, tokens: list[Token], groups: list[tuple[int, int]], words: Lexicon, known: Known
) -> tuple[dict[int, int], dict[int, tuple[int, str, str]]]:
    """Names that stand in the index (first token -> one after the last), and typing errors (first token -> number of
    tokens, as typed, as meant); the index is asked once."""
    surfaces: dict[int, tuple[int, str]] = {}
    suspects: list[tuple[int, int, str]] = []
    strange: dict[int, tuple[int, str, str]] = {}
    for start, end in groups:
        run = tokens[start:end]
        last = next((i for i, t in enumerate(run) if i and t.tag[0] == "J"), len(run))
        surface = text[run[0].start : run[last - 1].end].lower()
        meaning = [words.knows(t.form) for t in run[:last]]
        if words.knows(surface) or all(meaning):
            continue
        whole = text[run[0].start : run[-1].end].lower()
        if not any(meaning) and words.knows(whole):
            # 사우나, read as a noun and a particle.
            strange[start] = (len(run), whole, whole)
            continue
        if len(surface) > 1:
            surfaces[start] = (start + last, surface)
        guessed = (i for i, t in enumerate(run) if t.is_noun and not t.known and meaning[i : i + 1] != [True])
        suspects += [(start + i, 1, run[i].form) for i in guessed]
        if _odd(run, whole, any(meaning)):
            suspects.append((start, len(run), whole))
    if not surfaces and not suspects:
        return {}, strange
    there = known({surface for _, surface in surfaces.values()} | {surface for *_, surface in suspects})
    names = {start: end for start, (end, surface) in surfaces.items() if surface in there}
    for at, length, surface in suspects:
        meant = None if surface in there or at in strange else words.corrected(surface)
        if meant is not None and meant != surface and (length == 1 or initials(meant) == initials(surface)):
            strange[at] = (length, surface, meant)
    return names, strange


def _odd(run: list[Token], whole: str, any_meaning: bool) -> bool:
    """Whether the tokens of a word look like a tokenizer's way out: a name of many letters cut in pieces (구로+디지탈+
    단지), or a short one taken for a noun and an ending (사우+냐, 여+이+도)."""
    if len(run) < 2 or not run[0].is_noun:
        return False
    if len(whole) >= 5 and all(token.is_noun for token in run):
        return True
    return not any_meaning and 2 <= len(whole) <= 6


def _spaced(text: str, tokens: list[Token]) -> list[tuple[int, int]]:
    """Tokens by the parts between spaces: (first, one after the last)."""
    groups, start = [], 0
    for i in range(1, len(tokens) + 1):
        if i == len(tokens) or " " in text[tokens[i - 1].end : tokens[i].start]:
            groups.append((start, i))
            start = i
    return groups
