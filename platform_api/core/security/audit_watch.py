"""Verifies a domain's audit trail again and again, and tells Prometheus: a broken one is found in hours, not at an audit.

The head of one verification is held against the next, so that within the life of a worker a trail that was cut off or
computed anew is found too. Over a worker's life it is not: for that the heads are kept elsewhere (`smartfit audit heads`).
"""

import random
import time
from datetime import timedelta

import structlog
from prometheus_client import Gauge

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.security import audit_chain

log = structlog.get_logger(__name__)

EVERY = timedelta(hours=6)
"""The whole trail is read and hashed: about a minute of one core for a million rows."""
FIRST = timedelta(minutes=10)
"""The longest wait after a start, so that a start is not slowed by all domains at once."""

FINDINGS = Gauge("smartfit_audit_findings", "Places where the audit trail is not what was sealed", ["domain"])
OPEN = Gauge("smartfit_audit_open_rows", "Rows not sealed yet, at the last verification", ["domain"])
VERIFIED = Gauge("smartfit_audit_verified_timestamp_seconds", "When the trail was last verified", ["domain"])


class TrailWatch:
    """Watches the trail of one domain. `verify_when_due` is called often, and mostly does nothing."""

    def __init__(self) -> None:
        self._due = time.monotonic() + FIRST.total_seconds() * random.random()  # noqa: S311 - jitter
        self._kept: audit_chain.Head | None = None

    def verify_when_due(self, domain: str) -> None:
        """Verify, where it is time for it."""
        if time.monotonic() >= self._due:
            self.verify(domain)
            self._due = time.monotonic() + EVERY.total_seconds()

    def verify(self, domain: str) -> None:
        """Verify now. Findings stay told until a verification without them."""
        with unit_of_work(domain) as session:
            verdict = audit_chain.verify(session, self._kept)
        if not verdict.findings:
            # A broken trail must not become what the next one is held against.
            self._kept = verdict.head
        FINDINGS.labels(domain).set(len(verdict.findings))
        OPEN.labels(domain).set(verdict.open_rows)
        VERIFIED.labels(domain).set(clock.now().timestamp())
        for finding in verdict.findings[:10]:
            log.error("audit_trail_broken", domain=domain, kind=finding.kind, position=finding.position)
