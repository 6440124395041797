"""Keywords of a branch out of its page and its reviews, by morphemes alone: the offline extractor.

A word counts by the number of texts that say it, not by how often one of them does, so that no single review decides;
words that are denied (주차 안 됨) do not count. What a language model found (`extractions`) goes before it, for the texts that
it has seen; reviews that came later are read here, and the two are put together.
"""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platform_api.search.lexicon import lexicon, squeeze
from platform_api.search.tokens import Token, analyzer, is_content, sentences

MOST = 30
_LONGEST_TEXT = 2000
_NEGATIONS = {"없", "안", "못", "아니", "않", "부족하", "불편하", "별로", "아쉽", "불", "불가", "불가능"}


@dataclass(frozen=True)
class Keywords:
    """What is said of a branch.

    Attributes:
        words: the strongest first.
        traits: code of a trait -> share of the texts that say it, the page among them, 0 to 1.
    """

    words: tuple[str, ...]
    traits: dict[str, float]


@dataclass(frozen=True)
class Extracted:
    """What a language model found in the page and a number of reviews.

    Attributes:
        words: the strongest first.
        traits: code of a trait -> number of texts that say it.
        reviews: number of reviews it has read.
    """

    words: tuple[str, ...]
    traits: dict[str, int]
    reviews: int


def extract(page: str, reviews: Sequence[str], found: Extracted | None = None) -> Keywords:
    """Keywords of a branch: its own page counts as three reviews.

    Args:
        found: what is known of the page and of earlier reviews; then `reviews` are those that came later.
    """
    texts = [*([] if found else [(page, 3)]), *((review, 1) for review in reviews)]
    words, traits = _counted(texts, need=1 if len(reviews) < 5 and found is None else 2)
    number = len(reviews)
    if found is not None:
        words = list(dict.fromkeys([*found.words, *words]))
        traits.update(found.traits)
        number += found.reviews
    # Five imagined reviews that say nothing: one lone voice is no trait.
    return Keywords(tuple(words[:MOST]), {code: round(count / (number + 5), 3) for code, count in traits.items()})


def _counted(texts: Sequence[tuple[str, int]], need: int) -> tuple[list[str], Counter[str]]:
    """Words that weigh at least `need`, the strongest first, and in how many texts each trait is said."""
    counts: Counter[str] = Counter()
    traits: Counter[str] = Counter()
    words = lexicon()
    for text, weight in texts:
        said = set(_said(text[:_LONGEST_TEXT]))
        codes = {
            words.concepts[word].code
            for word in said
            if word in words.concepts and words.concepts[word].kind == "trait"
        }
        for word in said:
            counts[word] += weight
        for code in codes:
            traits[code] += 1
    kept = [(count * math.log(1 + len(word)), word) for word, count in counts.items() if count >= need]
    return [word for _, word in sorted(kept, key=lambda pair: (-pair[0], pair[1]))], traits


def _said(text: str) -> Iterable[str]:
    return itertools.chain.from_iterable(map(_said_in, sentences(text)))


@functools.lru_cache(maxsize=20_000)
def _said_in(sentence: str) -> tuple[str, ...]:
    words = lexicon()
    tokens = analyzer().remembered(sentence)
    found = []
    for i, token in enumerate(tokens):
        if is_content(token) and len(token.form) > 1 and token.tag not in {"SN", "NNB", "NR"}:
            word = squeeze(token.form)
            if word not in words.generic and not _denied(tokens, i):
                found.append(word)
    return tuple(found)


def _denied(tokens: Sequence[Token], at: int) -> bool:
    before = tokens[at - 1].form if at else ""
    after = [token.form for token in tokens[at + 1 : at + 4]]
    for i, form in enumerate(after):
        if form in _NEGATIONS:
            return True
        if i and is_content(tokens[at + 1 + i]):
            break
    return before in {"안", "못"}
