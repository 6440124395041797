"""What a domain does again and again: sweeping, expiry, rotation. Registered in its `jobs` module, run by the worker.

Several workers may run; an advisory lock in the domain's database lets one do a job at a time. A job is due again its
interval after its last run on this worker, so its work must not depend on being done exactly once.
"""

import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy import text

from platform_api.core.database import database
from platform_api.core.telemetry.tracing import span

log = structlog.get_logger(__name__)

RUNS = Counter("smartfit_jobs_total", "Runs of periodic jobs", ["domain", "name", "outcome"])
_LOOK = 1.0


@dataclass(frozen=True)
class Job:
    """One of them. `run` opens its own transactions."""

    domain: str
    name: str
    interval: timedelta
    run: Callable[[], object]


_jobs: list[Job] = []


def every(domain: str, interval: timedelta) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register a function of `domain` to be run about every `interval`."""

    def register(function: Callable[[], object]) -> Callable[[], object]:
        _jobs.append(Job(domain, function.__name__, interval, function))
        return function

    return register


def jobs_of(domain: str) -> list[Job]:
    """The jobs of a domain."""
    return [job for job in _jobs if job.domain == domain]


def run_jobs(domain: str, stopping: threading.Event) -> None:
    """Run the jobs of a domain when they are due, until told to stop. An error is told, and the job comes again."""
    due = dict.fromkeys(jobs_of(domain), time.monotonic() + _LOOK)
    while due and not stopping.wait(_LOOK):
        for job in [job for job, at in due.items() if at <= time.monotonic()]:
            try:
                RUNS.labels(domain, job.name, "done" if run_once(job) else "elsewhere").inc()
            except Exception:
                RUNS.labels(domain, job.name, "failed").inc()
                log.exception("job_failed", domain=domain, job=job.name)
            due[job] = time.monotonic() + job.interval.total_seconds()


def run_once(job: Job) -> bool:
    """Run a job unless another worker is at it. Returns whether it was run."""
    key = zlib.crc32(f"job {job.domain} {job.name}".encode())
    with database(job.domain).connect() as connection:
        # Of the session, not the transaction: the job may take longer than a transaction may idle.
        free = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
        connection.commit()
        if not free:
            return False
        try:
            with span(f"job {job.domain}.{job.name}"):
                job.run()
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
            connection.commit()
        return True
