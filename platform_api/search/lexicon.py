"""The words of the trade: amenities, traits of a branch, places, and words that tell nothing in a search for gyms.

Data lie in data/words.json and data/places.json. A place is an area (its name stands in addresses) or a spot (a station,
a neighbourhood without borders: a circle on the map). Coordinates are those of the station or the town hall.
"""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from platform_api.search.geo import Box, around, kilometres
from platform_api.search.hangul import distance, initials, jamo

# A station a short walk away belongs to the address of a branch.
_NEARBY_KM = 1.2
# The same to the north or south, a little more: what lies farther need not be measured.
_NEARBY_DEGREES = _NEARBY_KM / 110
_SHORTEST_TYPO = 4


@dataclass(frozen=True)
class Place:
    """A place with a name. `terms`: words of an address that is in it (of an area); `km`: how far it reaches."""

    name: str
    kind: str
    latitude: float
    longitude: float
    km: float
    aliases: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    @property
    def is_spot(self) -> bool:
        """Whether it is a point on the map, not an administrative area."""
        return self.kind == "spot"

    def box(self, km: float | None = None) -> Box:
        """The square around it."""
        return around(self.latitude, self.longitude, km or self.km)


@dataclass(frozen=True)
class Concept:
    """An amenity or a trait: its code, and what it is called."""

    kind: str
    code: str
    ko: str
    en: str
    words: tuple[str, ...]

    @property
    def term(self) -> str:
        """The word that stands for it in an index, whatever it was called: amenity:parking."""
        return f"{self.kind}:{self.code}"


@dataclass
class Lexicon:
    """What is known of words. Keys are small letters, without spaces."""

    concepts: dict[str, Concept] = field(default_factory=dict)
    by_term: dict[str, Concept] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    generic: frozenset[str] = frozenset()
    all_places: list[Place] = field(default_factory=list)

    def knows(self, word: str) -> bool:
        """Whether `word` means something here."""
        return word in self.concepts or word in self.places or word in self.generic

    def corrected(self, word: str) -> str | None:
        """The word that `word` was meant to be, by the fewest keys pressed differently; None where nothing is close.

        One key in words of four to six letters, two in longer ones; the first key is taken to be right, as it nearly
        always is.
        """
        letters = jamo(word)
        if len(letters) < _SHORTEST_TYPO:
            return None
        limit = 1 if len(letters) < 7 else 2
        found: dict[str, int] = {}
        for key in _deletions(letters, limit):
            for candidate in self._spelling.get(key, ()):
                if candidate not in found:
                    found[candidate] = distance(letters, jamo(candidate), limit)
        near = [
            (far, candidate) for candidate, far in found.items() if far <= limit and jamo(candidate)[0] == letters[0]
        ]
        return min(near)[1] if near else None

    @functools.cached_property
    def _spelling(self) -> dict[str, list[str]]:
        # Words that share what is left after a few deletions are close (Garbe's symmetric delete algorithm, SymSpell).
        table: dict[str, list[str]] = defaultdict(list)
        for word in sorted({*self.concepts, *self.places, *(w for w in self.generic if len(w) > 2)}):
            letters = jamo(word)
            if len(letters) >= _SHORTEST_TYPO and not word.isascii():
                for key in _deletions(letters, 1 if len(letters) < 7 else 2):
                    table[key].append(word)
        return dict(table)

    def address_words(self, text: str) -> list[str]:
        """Words by which an address is found: 서울특별시 강남구 역삼동 -> 서울특별시 서울 강남구 강남 역삼동 역삼."""
        words: dict[str, None] = {}
        for word in re.findall(r"[0-9a-z가-힣]+", text.lower()):
            words[word] = None
            for place in self.places.get(word, ()):
                if not place.is_spot:
                    words.update(dict.fromkeys((place.name, *(a for a in place.aliases if word.startswith(a)))))
            stem = word[:-1]
            if word[-1] in "시군구동읍면리" and len(stem) >= 2 and word not in self.places:
                words[stem] = None
        return list(words)

    def nearby(self, latitude: float, longitude: float) -> list[Place]:
        """Spots within a walk, the nearest first."""
        cell = self._grid.get((round(latitude / 0.05), round(longitude / 0.05)), ())
        found = [
            (kilometres(latitude, longitude, p.latitude, p.longitude), p)
            for p in cell
            if abs(p.latitude - latitude) < _NEARBY_DEGREES
        ]
        return [p for far, p in sorted(found, key=lambda pair: pair[0]) if far <= _NEARBY_KM]

    @functools.cached_property
    def _grid(self) -> dict[tuple[int, int], list[Place]]:
        grid: dict[tuple[int, int], list[Place]] = defaultdict(list)
        for place in self.all_places:
            if place.is_spot:
                row, column = round(place.latitude / 0.05), round(place.longitude / 0.05)
                for i in (-1, 0, 1):
                    for j in (-1, 0, 1):
                        grid[row + i, column + j].append(place)
        return dict(grid)

    def by_initials(self, letters: str) -> list[str]:
        """Places whose initial consonants are `letters`."""
        return self._initials.get(letters, [])

    @functools.cached_property
    def _initials(self) -> dict[str, list[str]]:
        table: dict[str, list[str]] = defaultdict(list)
        for name in self.places:
            if not name.isascii():
                table[initials(name)].append(name)
        return dict(table)

    def concept(self, kind: str, code: str) -> Concept:
        """The amenity or trait `code`; one not in our list stands for itself."""
        found = self.by_term.get(f"{kind}:{code}")
        return found or Concept(kind, code, code.replace("_", " "), code.replace("_", " "), (code.replace("_", ""),))


def _deletions(letters: str, limit: int) -> set[str]:
    """`letters`, and what is left of them after up to `limit` deletions."""
    found = last = {letters}
    for _ in range(limit):
        last = {word[:i] + word[i + 1 :] for word in last for i in range(len(word))}
        found = found | last
    return found


def _read(name: str) -> Any:
    return json.loads((resources.files("platform_api.search") / "data" / name).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=20_000)  # the words of amenities, for every branch that has them
def squeeze(word: str) -> str:
    """The key of a word: small letters, no spaces."""
    return word.lower().replace(" ", "")


@functools.cache
def lexicon() -> Lexicon:
    """The lexicon, read once."""
    words = _read("words.json")
    made = Lexicon(generic=frozenset(map(squeeze, words["generic"])))
    for kind, section in (("amenity", "amenities"), ("trait", "traits")):
        for code, entry in words[section].items():
            concept = Concept(kind, code, entry["ko"], entry["en"], tuple(entry["words"]))
            made.by_term[concept.term] = concept
            for word in (entry["ko"], *entry["words"]):
                made.concepts.setdefault(squeeze(word), concept)
    for entry in _read("places.json"):
        place = Place(
            entry["name"], entry["kind"], entry["lat"], entry["lon"], entry["km"],
            tuple(entry["aliases"]), tuple(entry.get("terms", ())),
        )  # fmt: skip
        made.all_places.append(place)
        for name in dict.fromkeys((place.name, *place.aliases)):
            made.places[squeeze(name)].append(place)
    return made


def korean_words(lexicon: Lexicon) -> Iterable[tuple[str, str]]:
    """Words for the tokenizer's dictionary, with their part of speech (NNP for places, NNG otherwise)."""
    for word in lexicon.places:
        if _addable(word):
            yield word, "NNP"
    for word, concept in lexicon.concepts.items():
        # Stems of adjectives (조용하, 넓) are the tokenizer's own business.
        if (
            _addable(word)
            and (concept.kind == "amenity" or len(word) > 2)
            and not word.endswith(("하", "롭", "한", "은"))
        ):
            yield word, "NNG"


def _addable(word: str) -> bool:
    return len(word) >= 2 and not any(character.isascii() and not character.isdigit() for character in word)
