"""Keywords of all branches by a language model, and what is left to the offline extractor, which needs nobody's help.

The search domain extracts by morphemes whenever it makes a document, so a branch that is left out here lacks nothing; a run
therefore never fails for want of a model, and says what it has left out and why.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from data_assets.platform import Platform, Refused
from data_assets.search.llm import BudgetSpent, ChatModel, ModelRefused
from data_assets.search.prompt import VERSION, BadAnswer, Found, Question, judged
from data_assets.search.texts import INTERNAL, Corpus
from platform_api.core.http import ServiceUnavailable
from platform_api.core.storage import ObjectStore

CACHE = "cache/keywords"
TRIES = 2
"""Of one question, where the answer is bad."""
_MOST_AWAY, _MOST_BAD = 2, 5
"""In a row: then the rest is not asked."""


@dataclass
class Report:
    """What has become of the branches.

    Attributes:
        extracted, cached: answered by the model, now or before. standing: handed in by an earlier run, nothing has changed.
        offline: left to the offline extractor; reasons: why, and of how many.
        out_of_date: a text changed between reading and handing in.
    """

    branches: int = 0
    extracted: int = 0
    cached: int = 0
    standing: int = 0
    offline: int = 0
    out_of_date: int = 0
    tokens: int = 0
    requests: int = 0
    model: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)

    def value(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "reasons": dict(self.reasons)}


class Extraction:
    """One run over the corpus."""

    def __init__(self, platform: Platform, store: ObjectStore, model: ChatModel | None) -> None:
        self._platform, self._store, self._model = platform, store, model
        self._report = Report(model=model.model if model else None)
        self._stopped = "" if model else "no_model"
        self._away = self._bad = 0
        self._used: set[str] = set()

    def run(self, corpus: Corpus) -> Report:
        """Extract, hand in, and say what came of it."""
        report, model = self._report, self._model
        report.branches = len(corpus["branches"])
        for branch in corpus["branches"]:
            question = Question.of(branch, corpus["traits"])
            if model is None or not question.texts:
                self._leave(self._stopped or "no_texts")
                continue
            digest = question.digest(model.model)
            self._used.add(digest)
            if branch["keywords"] and branch["keywords"]["digest"] == digest:
                report.standing += 1
                continue
            found = self._answer(model, question, digest)
            if found is not None:
                self._hand_in(branch, question, digest, found)
        if model is not None:
            report.tokens, report.requests = model.tokens, model.requests
        self._prune()
        return report

    def _answer(self, model: ChatModel, question: Question, digest: str) -> Found | None:
        key = f"{CACHE}/{digest}.json"
        if self._store.exists(key):
            kept = json.loads(self._store.get(key, sealed=True))
            self._report.cached += 1
            return Found(tuple(kept["words"]), kept["traits"])
        if self._stopped:
            self._leave(self._stopped)
            return None
        try:
            found = self._asked(model, question)
        except BudgetSpent:
            self._stopped = "budget_spent"
        except ModelRefused as error:
            self._stopped = f"refused: {error}"
        except ServiceUnavailable:
            self._away += 1
            self._stopped = "model_away" if self._away >= _MOST_AWAY else ""
            self._leave("model_away")
            return None
        except BadAnswer:
            self._bad += 1
            self._stopped = "bad_answers" if self._bad >= _MOST_BAD else ""
            self._leave("bad_answers")
            return None
        else:
            self._away = self._bad = 0
            self._store.put(key, json.dumps(asdict(found), ensure_ascii=False).encode(), sealed=True)
            self._report.extracted += 1
            return found
        self._leave(self._stopped)
        return None

    @staticmethod
    def _asked(model: ChatModel, question: Question) -> Found:
        for attempt in range(TRIES):
            try:
                return judged(model.ask(question.messages()), question)
            except BadAnswer:
                if attempt + 1 == TRIES:
                    raise
        raise AssertionError

    def _hand_in(self, branch: dict[str, Any], question: Question, digest: str, found: Found) -> None:
        said = {
            "model": self._report.model,
            "version": VERSION,
            "digest": digest,
            "branch_version": branch["version"],
            "reviews": [{"review_id": review_id, "version": version} for review_id, version in question.reviews],
            "words": list(found.words),
            "traits": found.traits,
        }
        try:
            self._platform.put(f"{INTERNAL}/branches/{branch['branch_id']}/keywords", said)
        except Refused as refusal:
            if refusal.code not in ("out_of_date", "branch_unknown"):
                raise
            self._report.out_of_date += 1

    def _leave(self, reason: str) -> None:
        self._report.offline += 1
        self._report.reasons[reason] += 1

    def _prune(self) -> None:
        """Forget answers about texts that are no more: they hold words of reviews that were taken back."""
        for key in self._store.list(CACHE):
            if key.rpartition("/")[2].removesuffix(".json") not in self._used:
                self._store.delete(key)
