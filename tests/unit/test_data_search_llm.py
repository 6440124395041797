"""Asking a language model: at a pace, within a budget, again where that may help, and not for ever."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests

from data_assets.search.llm import LONGEST_WAIT_S, BudgetSpent, ChatModel, ModelRefused
from data_assets.search.prompt import BadAnswer
from data_assets.search.settings import SearchLineSettings
from platform_api.core import clock
from platform_api.core.http import ServiceUnavailable
from platform_api.core.settings import SettingsError, load

MESSAGES = [{"role": "user", "content": "안녕"}]
GOOD = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}], "usage": {"total_tokens": 100}}


class Service:
    """Answers in turn: a JSON body, a status, or an exception; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def post(self, path: str, json: Any) -> Any:
        assert path == "/chat/completions"
        self.asked.append(json)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        answer = requests.Response()
        answer.status_code = said if isinstance(said, int) else 200
        answer._content = b"" if isinstance(said, int) else __import__("json").dumps(said).encode()
        return answer


class Time:
    """A clock that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def busy(status: int, retry_after: str | None = None) -> ServiceUnavailable:
    response = requests.Response()
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    error = ServiceUnavailable("llm", "HTTPError")
    error.__cause__ = requests.HTTPError(response=response)
    return error


@pytest.fixture
def made() -> Callable[..., tuple[ChatModel, Service, Time]]:
    def make(*answers: Any, budget: int = 10**9, per_minute: int = 10**6) -> tuple[ChatModel, Service, Time]:
        service, time = Service(*answers), Time()
        http: Any = service
        return ChatModel(http, "m", budget, per_minute, time.sleep, lambda: time.now), service, time

    return make


def test_questions_keep_to_the_pace(made: Any) -> None:
    model, _, time = made(GOOD, per_minute=30)
    for _ in range(4):
        model.ask(MESSAGES)
    assert time.now == pytest.approx(6.0)
    assert (model.requests, model.tokens) == (4, 400)


def test_the_service_says_how_long_to_wait(made: Any) -> None:
    model, service, time = made(busy(429, "7"), busy(503, "11"), GOOD)
    assert model.ask(MESSAGES) == "{}"
    assert [wait for wait in time.slept if wait > 1] == [7.0, 11.0]
    assert len(service.asked) == 3


def test_a_date_to_wait_for_is_understood_and_nobody_waits_for_ever(made: Any) -> None:
    later = format_datetime(clock.now() + timedelta(seconds=30), usegmt=True)
    model, _, time = made(busy(429, later), busy(429, "86400"), GOOD)
    model.ask(MESSAGES)
    first, second = (wait for wait in time.slept if wait > 1)
    assert 25 < first <= 30
    assert second == LONGEST_WAIT_S


@pytest.mark.parametrize("said", [None, "soon", "-5"])
def test_without_a_word_the_pauses_grow(made: Any, said: str | None) -> None:
    model, service, time = made(busy(500, said))
    with pytest.raises(ServiceUnavailable):
        model.ask(MESSAGES)
    assert len(service.asked) == 3
    assert [wait for wait in time.slept if wait > 1] == ([] if said == "-5" else [2.0, 4.0])


def test_the_budget_is_never_exceeded_by_a_question(made: Any) -> None:
    model, service, _ = made({**GOOD, "usage": {"total_tokens": 5_000}}, budget=8_000)
    model.ask(MESSAGES)
    model.ask(MESSAGES)
    with pytest.raises(BudgetSpent):
        model.ask(MESSAGES)
    assert len(service.asked) == 2


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -5}, {"total_tokens": "many"}, {"total_tokens": 0}])
def test_who_does_not_say_what_it_cost_is_charged_the_estimate(made: Any, usage: Any) -> None:
    model, _, _ = made({**GOOD, "usage": usage})
    model.ask(MESSAGES)
    assert model.tokens >= 1_500


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_a_refusal_is_not_asked_again(made: Any, status: int) -> None:
    model, service, _ = made(status)
    with pytest.raises(ModelRefused):
        model.ask(MESSAGES)
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [[], {}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, {"choices": [{"message": "x"}]}, "x",
     {"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}],
)  # fmt: skip
def test_what_is_no_answer_is_bad_and_still_costs(made: Any, answer: Any) -> None:
    model, _, _ = made(answer)
    with pytest.raises(BadAnswer):
        model.ask(MESSAGES)
    assert model.tokens > 0


def test_a_url_needs_the_name_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_LLM_URL", "https://llm.example/v1")
    with pytest.raises(SettingsError, match="SMARTFIT_LLM_MODEL"):
        load(SearchLineSettings)
    monkeypatch.setenv("SMARTFIT_LLM_MODEL", "m")
    assert ChatModel.from_settings(load(SearchLineSettings)) is not None
    monkeypatch.delenv("SMARTFIT_LLM_URL")
    assert ChatModel.from_settings(load(SearchLineSettings)) is None
