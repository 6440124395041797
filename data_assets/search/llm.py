"""A language model behind a chat API as OpenAI's: within a budget, at a pace, tried again where that may help."""

import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from data_assets.search.prompt import MAX_TOKENS, BadAnswer
from data_assets.search.settings import SearchLineSettings
from platform_api.core import clock
from platform_api.core.http import Client, ServiceUnavailable, client, document

ATTEMPTS = 3
CONNECT_S = 5.0
LONGEST_WAIT_S = 120.0


class BudgetSpent(Exception):
    """The next question might cost more than is left of the run's budget."""


class ModelRefused(Exception):
    """The service will not take our questions (a wrong key, an unknown model): asking again is of no use."""


class ChatModel:
    """Asks questions. `tokens` and `requests` count what it has cost."""

    def __init__(
        self,
        http: Client,
        model: str,
        budget: int,
        per_minute: int,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.tokens = 0
        self.requests = 0
        self._http, self._budget, self._gap = http, budget, 60.0 / per_minute
        self._sleep, self._now = sleep, now
        self._next = 0.0

    @classmethod
    def from_settings(cls, settings: SearchLineSettings) -> "ChatModel | None":
        """By the settings; None where there is no model to ask."""
        if not settings.llm_url:
            return None
        key = settings.llm_api_key
        http = client(
            "llm",
            settings.llm_url,
            timeout=(CONNECT_S, settings.llm_timeout_s),
            verify=str(settings.llm_ca_file) if settings.llm_ca_file else True,
            # Failures are counted by whoever asks, question by question.
            breaker=False,
            whole_s=CONNECT_S + settings.llm_timeout_s,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else None,
        )
        return cls(http, settings.llm_model, settings.llm_budget_tokens, settings.llm_requests_per_minute)

    def ask(self, messages: Sequence[dict[str, str]]) -> str:
        """The answer's text.

        Raises:
            BudgetSpent, ModelRefused: no further question is of use in this run.
            ServiceUnavailable: after all attempts. BadAnswer: an answer that is none, or is cut.
        """
        # A letter of Korean is a token or less; what the answer may take is set aside as well.
        estimate = sum(len(message["content"]) for message in messages) + MAX_TOKENS
        if self.tokens + estimate > self._budget:
            raise BudgetSpent(f"{self.tokens} of {self._budget} tokens used")
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "response_format": {"type": "json_object"},
        }
        for attempt in range(ATTEMPTS):
            self._sleep(max(0.0, self._next - self._now()))
            self._next = self._now() + self._gap
            self.requests += 1
            try:
                answer = self._http.post("/chat/completions", json=body)
                break
            except ServiceUnavailable as error:
                if attempt + 1 == ATTEMPTS:
                    raise
                self._sleep(_pause(error, attempt))
        if answer.status_code >= 300:
            raise ModelRefused(f"status {answer.status_code}")
        return self._content(answer, estimate)

    def _content(self, answer: requests.Response, estimate: int) -> str:
        try:
            told: Any = document(answer)
            used = (told.get("usage") or {}).get("total_tokens")
            self.tokens += used if isinstance(used, int) and used > 0 else estimate
            choice = told["choices"][0]
            content, ended = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            self.tokens += estimate
            raise BadAnswer("not an answer of a chat API") from None
        if not isinstance(content, str) or ended == "length":
            raise BadAnswer("the answer is cut")
        return content


def _pause(error: ServiceUnavailable, attempt: int) -> float:
    """Seconds to wait: as the service says (Retry-After, in seconds or as a date), else longer each time."""
    cause = error.__cause__
    said = None
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        said = cause.response.headers.get("Retry-After")
    if said:
        try:
            wait = float(said)
        except ValueError:
            try:
                wait = (parsedate_to_datetime(said) - clock.now()).total_seconds()
            except (ValueError, TypeError):
                wait = 2.0 ** (attempt + 1)
        return min(max(wait, 0.0), LONGEST_WAIT_S)
    return 2.0 ** (attempt + 1)
