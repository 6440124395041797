"""Keywords of a branch out of its page and its reviews, by morphemes alone: the offline extractor.

A word counts by the number of texts that say it, not by how often one of them does, so that no single review decides;
words that are denied (주차 안 됨) do not count. Extraction by a language model may replace this on the cold path: it only
has to give the same `Keywords`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from platform_api.search.lexicon import lexicon, squeeze
from platform_api.search.tokens import Token, analyzer, is_content

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


def extract(page: str, reviews: Sequence[str]) -> Keywords:
    """Keywords of a branch: its own page counts as three reviews."""
    counts: Counter[str] = Counter()
    traits: Counter[str] = Counter()
    words = lexicon()
    for text, weight in ((page, 3), *((review, 1) for review in reviews)):
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
    need = 1 if len(reviews) < 5 else 2
    kept = [(count * math.log(1 + len(word)), word) for word, count in counts.items() if count >= need]
    best = tuple(word for _, word in sorted(kept, key=lambda pair: (-pair[0], pair[1]))[:MOST])
    # Five imagined reviews that say nothing: one lone voice is no trait.
    return Keywords(best, {code: round(count / (len(reviews) + 5), 3) for code, count in traits.items()})


def _said(text: str) -> Iterable[str]:
    words = lexicon()
    tokens = analyzer().remembered(text)
    for i, token in enumerate(tokens):
        if is_content(token) and len(token.form) > 1 and token.tag not in {"SN", "NNB", "NR"}:
            word = squeeze(token.form)
            if word not in words.generic and not _denied(tokens, i):
                yield word


def _denied(tokens: Sequence[Token], at: int) -> bool:
    before = tokens[at - 1].form if at else ""
    after = [token.form for token in tokens[at + 1 : at + 4]]
    for i, form in enumerate(after):
        if form in _NEGATIONS:
            return True
        if i and is_content(tokens[at + 1 + i]):
            break
    return before in {"안", "못"}
