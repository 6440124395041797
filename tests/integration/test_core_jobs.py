"""Periodic jobs: done when due, by one worker at a time, and again after an error."""

import threading
import time
from datetime import timedelta

import pytest

from platform_api.core import jobs


@pytest.fixture(autouse=True)
def no_other_jobs(fresh_databases: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_jobs", [])


def test_a_job_comes_again_after_an_error() -> None:
    done: list[float] = []

    @jobs.every("auth", timedelta(seconds=0))
    def sweep() -> None:
        done.append(time.monotonic())
        if len(done) == 1:
            raise RuntimeError("first try")

    stopping = threading.Event()
    thread = threading.Thread(target=jobs.run_jobs, args=("auth", stopping))
    thread.start()
    deadline = time.monotonic() + 15
    while len(done) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    thread.join()
    assert len(done) >= 2


def test_one_worker_at_a_time_does_a_job() -> None:
    started, go_on = threading.Event(), threading.Event()

    @jobs.every("auth", timedelta(hours=1))
    def slow() -> None:
        started.set()
        go_on.wait(10)

    (job,) = jobs.jobs_of("auth")
    first = threading.Thread(target=jobs.run_once, args=(job,))
    first.start()
    assert started.wait(10)
    assert jobs.run_once(job) is False
    go_on.set()
    first.join()
    assert jobs.run_once(job) is True
    assert jobs.jobs_of("access") == []
