"""Several API processes over one Redis, which is then killed, hung, and brought back."""

import time

import pytest

from tests.integration.cache.conftest import MINE, PER_MINUTE, Process, Processes, asks_redis
from tests.waiting import wait_for


def refused(process: Process, token: str) -> bool:
    answer = process.get(MINE, token)
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 401 and answer.json()["code"] == "token_revoked"


def let_through(process: Process, token: str, times: int) -> int:
    """How many of so many requests were answered; the others were 429 and say when to come again."""
    answers = [process.get(MINE, token) for _ in range(times)]
    late = [answer for answer in answers if answer.status_code != 200]
    assert all(answer.json()["code"] == "too_many_requests" for answer in late)
    assert all(1 <= int(answer.headers["Retry-After"]) <= 120 for answer in late)
    return times - len(late)


def test_two_processes_share_a_limit(processes: Processes) -> None:
    _, token, _ = processes.member()
    there = let_through(processes.one, token, 40)
    assert there == 40
    assert let_through(processes.two, token, 40) == PER_MINUTE - there
    assert let_through(processes.one, token, 3) == 0
    _, another, _ = processes.member()
    assert let_through(processes.one, another, 3) == 3


def test_a_token_of_an_ended_session_is_refused_everywhere_at_once(processes: Processes) -> None:
    _, token, refresh = processes.member()
    _, of_another, _ = processes.member()
    assert not refused(processes.one, token)
    assert processes.auth.post("/auth/v1/tokens/revoke", refresh_token=refresh).status_code == 204
    assert refused(processes.one, token)
    assert refused(processes.two, token)
    assert not refused(processes.one, of_another)


def test_a_stolen_refresh_token_ends_the_access_tokens_of_its_family(processes: Processes) -> None:
    _, first, refresh = processes.member()
    second = processes.auth.post("/auth/v1/tokens/refresh", refresh_token=refresh).json()["access_token"]
    assert not refused(processes.one, first)
    assert processes.auth.post("/auth/v1/tokens/refresh", refresh_token=refresh).json()["code"] == "refresh_reused"
    assert refused(processes.one, first)
    assert refused(processes.two, second)


@pytest.mark.parametrize("damage", ["kill", "hang"])
def test_without_redis_requests_go_on_and_nobody_gets_in(processes: Processes, damage: str) -> None:
    _, gone, refresh = processes.member()
    _, counted, _ = processes.member()
    _, leaving, leaving_refresh = processes.member()
    processes.auth.post("/auth/v1/tokens/revoke", refresh_token=refresh)
    wait_for(lambda: refused(processes.one, gone) and refused(processes.two, gone), what="revoked")
    assert let_through(processes.one, counted, 50) == 50

    getattr(processes.redis, damage)()
    # Revoked stays revoked, from the first request on.
    assert refused(processes.one, gone)
    assert refused(processes.two, gone)
    # What the process counted itself still counts.
    assert let_through(processes.one, counted, 30) == PER_MINUTE - 50
    # Signing out works, and the others hear of it from auth.
    assert not refused(processes.two, leaving)
    assert processes.auth.post("/auth/v1/tokens/revoke", refresh_token=leaving_refresh).status_code == 204
    wait_for(lambda: refused(processes.two, leaving), 10, "the list is read", every=0.2)
    # Nobody waits for Redis but one request a second.
    skipped = 'smartfit_cache_requests_total{cache="revocations",outcome="skipped"}'
    before = processes.two.metric(skipped)
    _, fresh, _ = processes.member()
    assert let_through(processes.two, fresh, 20) == 20
    assert processes.two.metric(skipped) > before
    assert processes.two.metric("smartfit_cache_breaker_open") == 1

    if damage == "kill":
        processes.redis.start()
    else:
        processes.redis.go_on()
    # It comes back by itself; what it forgot is still refused.
    for process in (processes.one, processes.two):
        wait_for(lambda process=process: asks_redis(process), what="Redis is asked again")
        assert process.metric("smartfit_cache_breaker_open") == 0
        assert refused(process, gone)
        assert refused(process, leaving)


def test_keys_tell_nothing_and_end(processes: Processes) -> None:
    member, token, refresh = processes.member()
    processes.one.get(MINE, token)
    processes.one.get("/search/v1/branches", q="비밀스러운 질문")
    processes.auth.post("/auth/v1/tokens/revoke", refresh_token=refresh)
    client = processes.redis.client
    names = [name.decode() for name in client.scan_iter()]
    assert {":".join(name.split(":")[:2]) for name in names} >= {
        "smartfit:limits",
        "smartfit:revoked",
        "smartfit:search",
    }
    assert all(name.startswith("smartfit:") for name in names)
    assert all(client.pttl(name) > 0 for name in names)
    assert not any(told in name for name in names for told in (member, "비밀", "127.0.0.1"))


def test_the_same_question_is_answered_once_for_all_processes(processes: Processes) -> None:
    question = {"q": f"강남 {time.time_ns()}"}
    # A whole minute is part of the question.
    wait_for(lambda: time.time() % 60 < 55, 10, "not at the turn of a minute")
    first = processes.one.get("/search/v1/branches", **question)
    again = processes.two.get("/search/v1/branches", **question)
    assert "kept" not in first.headers["Server-Timing"]
    assert again.headers["Server-Timing"] == "kept"
    assert again.json() == first.json()
    _, token, _ = processes.member()
    assert processes.two.get("/search/v1/branches", token, **question, personal="true").ok
