"""Korean text to words, by kiwi (https://github.com/bab2min/kiwipiepy) with our dictionary.

Its model takes seconds and some 300 MB to load: one for each process, warmed up at start, so that nobody's first query
waits. Whatever goes into an index and whatever is asked of it passes through here, so that both meet.
"""

import functools
import re
import threading
from typing import NamedTuple

from kiwipiepy import Kiwi

from platform_api.search.lexicon import korean_words, lexicon

# Nouns, foreign words, numbers, roots, verbs and adjectives; particles, endings and signs tell nothing.
_CONTENT = {"NNG", "NNP", "NNB", "NR", "SL", "SH", "SN", "XR", "VV", "VA", "MAG", "W_HASHTAG"}
_EMPTY_VERBS = {
    "하",
    "되",
    "있",
    "가",
    "오",
    "보",
    "주",
    "알",
    "찾",
    "이",
    "같",
    "받",
    "나",
    "살",
    "들",
    "쓰",
    "말",
    "없",
}
_ADVERBS = {"새로"}
# Kiwi gives guessed morphemes the number of their part of speech.
_FIRST_IN_DICTIONARY = 100
_SPLIT = re.compile(r"[^0-9a-zA-Zㄱ-ㅎㅏ-ㅣ가-힣]+")
# Not after ? and ...: what follows often answers (주차? 안 돼요).
_SENTENCE_END = re.compile(r"(?<=[^.][.!])\s+|\n+")


class Token(NamedTuple):
    """A morpheme: its form in small letters, its part of speech (Sejong tags), where it stands, and whether the
    dictionary has it or it was guessed."""

    form: str
    tag: str
    start: int
    end: int
    known: bool = True

    @property
    def is_noun(self) -> bool:
        """Nouns, roots and foreign words: what may be joined with its neighbour to a name."""
        return self.tag[:2] in {"NN", "SL", "SN", "SH", "XR", "XS"}


class Analyzer:
    """The tokenizer. May be used by many threads at once: kiwi lets go of the interpreter lock while it works."""

    def __init__(self) -> None:
        # Multi-word proper nouns and the typo table are left out: 190 MB for what our dictionary and jamo do better.
        # num_workers=1: sentences are short and come one by one.
        self._kiwi = Kiwi(num_workers=1, load_multi_dict=False, load_typo_dict=False)
        self._kiwi.add_user_word("헬스장", "NNG", 0.0)
        for word, tag in korean_words(lexicon()):
            self._kiwi.add_user_word(word, tag, 0.0)
        self.tokens("헬스장")

    @functools.lru_cache(maxsize=20_000)  # noqa: B019 - there is one analyzer, as long as the process
    def remembered(self, sentence: str) -> tuple[Token, ...]:
        """As `tokens`, for what stands in documents: each is looked at for several fields, and again with every change;
        and many branches say the same (24시간 연중무휴로 운영합니다)."""
        return tuple(self.tokens(sentence))

    def tokens(self, text: str) -> list[Token]:
        """All morphemes of `text`."""
        return [
            Token(_stem(t.form.lower(), t.tag), t.tag.partition("-")[0], t.start, t.end, t.id >= _FIRST_IN_DICTIONARY)
            for t in self._kiwi.tokenize(text or " ")
        ]

    def words(self, text: str) -> list[str]:
        """The words of a document's `text` that tell something, in order, with repetitions."""
        return [token.form for sentence in sentences(text) for token in self.remembered(sentence) if is_content(token)]


def _stem(form: str, tag: str) -> str:
    """조용하다 comes out whole or as 조용 and 하다, as the sentence goes: it is 조용 either way."""
    return form[:-1] if tag[0] == "V" and len(form) > 2 and form.endswith("하") else form


def is_content(token: Token) -> bool:
    """Whether a morpheme tells something."""
    if token.tag not in _CONTENT or (token.tag == "MAG" and token.form not in _ADVERBS):
        return False
    return not (token.tag in {"VV", "VA"} and token.form in _EMPTY_VERBS)


def sentences(text: str) -> list[str]:
    """The sentences of a page or a review, each of which is analysed by itself."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


def pieces(text: str) -> list[str]:
    """The parts of a name between spaces and signs, small letters: no analysis, for names mean nothing."""
    return [piece for piece in _SPLIT.split(text.lower()) if piece]


_making = threading.Lock()


def analyzer() -> Analyzer:
    """The tokenizer of this process, made at first use; call it at start to warm up."""
    with _making:  # two threads that ask at once share one model
        return _made()


@functools.cache
def _made() -> Analyzer:
    return Analyzer()
