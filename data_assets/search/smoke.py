"""Whether a new index answers as it must, tried on the index itself before it serves.

Names are asked as people type them: whole, by their initial consonants (초성), with one vowel wrong. A place and an amenity
together have an answer that the corpus tells, so that their nDCG@10 can be worked out without anybody's judgement.
"""

import math
import random
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_assets.platform import Platform
from data_assets.search.texts import INTERNAL, Corpus

SAMPLE, LIMIT, MOST_QUERIES = 40, 10, 100
LEAST = {"name": 0.95, "initials": 0.8, "typo": 0.8}
"""Share of names that must be found among the first ten."""
LEAST_NDCG = 0.8
MISSING = 0.01
"""Share of documents that may be missing: a branch that cannot be described must not hold up the others."""

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_FIRST_INITIAL = 0x1100
_OTHER_VOWEL = {"ᅡ": "ᅥ", "ᅥ": "ᅡ", "ᅩ": "ᅮ", "ᅮ": "ᅩ", "ᅵ": "ᅳ", "ᅳ": "ᅵ", "ᅢ": "ᅦ", "ᅦ": "ᅢ"}

Ask = Callable[[Sequence[str]], dict[str, list[dict[str, Any]]]]


@dataclass
class Outcome:
    """One check: whether it passed, the figures, and examples of what went wrong."""

    passed: bool
    figures: dict[str, float] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def asker(platform: Platform, rebuild_id: str) -> Ask:
    """Asks the held index: hits by query."""

    def ask(queries: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for start in range(0, len(queries), MOST_QUERIES):
            body = {"queries": list(queries[start : start + MOST_QUERIES]), "limit": LIMIT}
            answer = platform.post(f"{INTERNAL}/rebuilds/{rebuild_id}/queries", body)
            found.update({result["query"]: result["hits"] for result in answer["results"]})
        return found

    return ask


def whole(documents: int, before: int, now: int) -> Outcome:
    """documents: in the index; before, now: branches when the corpus was read, and at this moment."""
    low, high = min(before, now) * (1 - MISSING), max(before, now)
    passed = low <= documents <= high
    figures: dict[str, float] = {"documents": documents, "branches_before": before, "branches_now": now}
    return Outcome(passed, figures, [] if passed else [f"{documents} documents for {before} to {now} branches"])


def names(corpus: Corpus, ask: Ask, seed: str) -> Outcome:
    """Branches are found by their names, however they are typed."""
    drawn = _drawn(corpus["branches"], seed)
    asked: dict[str, list[tuple[str, str]]] = {kind: [] for kind in LEAST}
    for branch in drawn:
        name = branch["name"]
        asked["name"].append((name, name))
        for kind, query in (("initials", initials(name)), ("typo", mistyped(name))):
            if query:
                asked[kind].append((query, name))
    hits = ask(list(dict.fromkeys(query for pairs in asked.values() for query, _ in pairs)))
    figures, examples, passed = {}, [], True
    for kind, pairs in asked.items():
        missed = [f"{query} → {name}" for query, name in pairs if name not in [hit["name"] for hit in hits[query]]]
        figures[kind] = round(1 - len(missed) / len(pairs), 3) if pairs else 1.0
        passed = passed and figures[kind] >= LEAST[kind]
        examples += missed[:5]
    return Outcome(passed, {**figures, "branches": len(drawn)}, examples)


def ranking(corpus: Corpus, ask: Ask, seed: str) -> Outcome:
    """Of a place and an amenity, those that have it there come first."""
    called = {concept["code"]: concept["ko"] for concept in corpus["amenities"]}
    wanted: dict[str, set[str]] = {}
    for branch in corpus["branches"]:
        place = branch["region"].split()[-1:] or [""]
        for code in branch["amenities"]:
            if code in called and place[0]:
                wanted.setdefault(f"{place[0]} {called[code]}", set())
    for query in wanted:
        place, _, amenity = query.partition(" ")
        wanted[query] = {
            branch["branch_id"]
            for branch in corpus["branches"]
            if place in branch["region"].split() and amenity in [called.get(code) for code in branch["amenities"]]
        }
    queries = _drawn(sorted(wanted), seed)
    hits = ask(queries)
    scores = {query: ndcg([hit["branch_id"] for hit in hits[query]], wanted[query]) for query in queries}
    mean = sum(scores.values()) / len(scores) if scores else 1.0
    worst = [f"{query}: {score:.2f}" for query, score in sorted(scores.items(), key=lambda pair: pair[1])[:5]]
    return Outcome(mean >= LEAST_NDCG, {"ndcg": round(mean, 3), "queries": len(scores)}, worst)


def ndcg(found: Sequence[str], relevant: Iterable[str], depth: int = LIMIT) -> float:
    """nDCG at `depth` with relevances of 0 and 1 (Järvelin and Kekäläinen 2002)."""
    right = set(relevant)
    gain = sum(1 / math.log2(place + 2) for place, branch_id in enumerate(found[:depth]) if branch_id in right)
    best = sum(1 / math.log2(place + 2) for place in range(min(depth, len(right))))
    return gain / best if best else 1.0


def initials(name: str) -> str:
    """Initial consonants of a name of three syllables or more, without spaces; empty where it is not all Korean."""
    letters = unicodedata.normalize("NFD", name.replace(" ", ""))
    found = [_INITIALS[ord(letter) - _FIRST_INITIAL] for letter in letters if 0 <= ord(letter) - _FIRST_INITIAL < 19]
    syllables = name.replace(" ", "")
    return "".join(found) if len(found) == len(syllables) >= 3 else ""


def mistyped(name: str) -> str:
    """The name with one vowel of its longest word wrong, not in the first syllable; empty where there is none to spoil."""
    word = max(name.split(), key=len, default="")
    letters = list(unicodedata.normalize("NFD", word))
    places = [place for place, letter in enumerate(letters) if letter in _OTHER_VOWEL and place > 2]
    if len(word) < 4 or not places:
        return ""
    letters[places[0]] = _OTHER_VOWEL[letters[places[0]]]
    wrong = unicodedata.normalize("NFC", "".join(letters))
    return name.replace(word, wrong, 1)


def _drawn(things: Sequence[Any], seed: str) -> list[Any]:
    return random.Random(seed).sample(list(things), min(SAMPLE, len(things)))  # noqa: S311
