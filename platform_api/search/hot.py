"""Answers to what is asked again and again, kept for a few seconds (see core.cache).

The question holds the state of the index, so that an answer of before a change is asked for no more; the minute, since
"open now" changes with it; and, where preferences count, what they are, so that nobody is given another's order.
"""

import functools
from datetime import datetime

from flask import Response

from platform_api.core.cache import KeptAnswers, shared
from platform_api.search.engines import Engine
from platform_api.search.finding import Asked
from platform_api.search.ranking import Taste
from platform_api.search.settings import settings

Question = tuple[str, ...]
SHAPE = "1"
"""Counts up when answers change their shape: two releases may run side by side."""


@functools.cache
def answers() -> KeptAnswers:
    """Those of this process."""
    return KeptAnswers("search", settings().search_answers_kept_s, shared())


def question(
    engine: Engine, asked: Asked, moment: datetime, taste: Taste | None, start: int, limit: int
) -> Question | None:
    """What is asked, whole; None where no answer may be kept.

    Raises:
        EngineUnavailable: the index cannot be asked.
    """
    state = engine.state() if settings().search_answers_kept_s else None
    if state is None:
        return None
    return SHAPE, state, f"{moment:%Y-%m-%dT%H:%M}", repr(asked), repr(taste), f"{start}/{limit}"


def kept(question: Question | None) -> Response | None:
    """The answer that was given to the same question."""
    body = answers().get(*question) if question else None
    if body is None:
        return None
    answer = _response(body)
    answer.headers["Server-Timing"] = "kept"
    return answer


def keep(question: Question | None, document: str) -> Response:
    """Give this answer (JSON), and again to the same question."""
    body = document.encode()
    if question:
        answers().put(body, *question)
    return _response(body)


def _response(body: bytes) -> Response:
    return Response(body, content_type="application/json")
