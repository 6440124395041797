"""The client that benchmarks of HTTP are measured with, against a small real server."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway_world import Backend
from tests.load_process import NO_ANSWER, TIMED_OUT, Caller, Plan, Shot, run


def _answer(path: str) -> tuple[int, dict[str, Any]]:
    if path == "/slow":
        time.sleep(0.5)
    return (503 if path == "/full" else 200), {"refresh_token": f"after {path}"}


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend(_answer)
    yield made
    made.close()


def _plan(backend: Backend, *callers: Caller, **more: Any) -> Plan:
    return Plan(backend.address.host, backend.address.port, None, list(callers), **more)


def test_in_a_closed_loop_each_connection_asks_in_turn(backend: Backend) -> None:
    shots = [Shot("GET", "/fine"), Shot("POST", "/full", {"Idempotency-Key": "{key}"}, "{}")]
    outcome = run(_plan(backend, Caller(shots), Caller(shots), seconds=0.5))
    assert len(outcome.status) == len(backend.seen) > 10
    assert abs(outcome.status.count(200) - outcome.status.count(503)) <= 2
    assert set(outcome.status) == {200, 503}
    keys = [headers["idempotency-key"] for method, _, headers in backend.seen if method == "POST"]
    assert len(set(keys)) == len(keys)
    assert all(due <= sent <= done for due, sent, done in zip(outcome.due, outcome.sent, outcome.done, strict=True))


def test_what_an_answer_taught_is_said_the_next_time(backend: Backend) -> None:
    shots = [Shot("POST", "/renewed", {}, '{"refresh_token": "{refresh_token}"}', learns=True)]
    plan = _plan(backend, Caller(shots, {"refresh_token": "first"}), seconds=0.1)
    outcome = run(plan)
    assert set(outcome.status) == {200}
    assert plan.callers[0].said == {"refresh_token": "after /renewed"}


def test_an_open_loop_asks_as_often_as_told_and_does_not_wait_for_answers(backend: Backend) -> None:
    outcome = run(_plan(backend, Caller([Shot("GET", "/slow")]), rates=[(1.0, 40.0), (1.0, 20.0)], most=100))
    early = sum(due < 1 for due in outcome.due)
    assert 20 <= early <= 60
    assert len(outcome.due) - early < early
    assert set(outcome.status) == {200}
    # One connection alone would have needed 0.5 s for each.
    assert outcome.elapsed_s < 10


def test_waiting_for_a_connection_counts(backend: Backend) -> None:
    outcome = run(_plan(backend, Caller([Shot("GET", "/slow")]), rates=[(0.5, 10.0)], most=1))
    last = max(range(len(outcome.due)), key=outcome.due.__getitem__)
    assert len(outcome.due) > 1
    assert outcome.done[last] - outcome.due[last] > 0.5


def test_no_answer_is_told_from_a_late_one(backend: Backend) -> None:
    late = run(_plan(backend, Caller([Shot("GET", "/slow")]), seconds=0.1, timeout_s=0.2))
    assert set(late.status) == {TIMED_OUT}
    plan = _plan(backend, Caller([Shot("GET", "/fine")]), rates=[(0.3, 20.0)])
    backend.close()
    with pytest.raises(RuntimeError, match="Connect"):
        run(plan)
    assert NO_ANSWER not in late.status
