"""A lane: threads that send on one channel. Alerts have lanes of their own, so that they never wait behind the rest."""

import random
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from prometheus_client import Counter, Histogram

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.telemetry.tracing import span
from platform_api.notification import deliveries
from platform_api.notification.channels import Away, Channel, Later, Never, Outcome, Sent

log = structlog.get_logger(__name__)

POLL_S = 0.5
AWAY_S = 1.0
_LONGEST_PAUSE_S = 10.0
_WORDS = {Sent: "sent", Later: "later", Never: "never", Away: "away"}

SENT = Counter("smartfit_notification_attempts_total", "Tries to send", ["channel", "urgent", "outcome"])
DELAY = Histogram(
    "smartfit_notification_delay_seconds",
    "From what happened (or the time the message was to wait for) to the channel having it",
    ["channel", "urgent"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 300, 1800),
)


@dataclass
class Lane:
    """See the module. `urgent_only`: it takes alerts and nothing else."""

    name: str
    channel: Channel
    urgent_only: bool
    threads: int
    rest_until: float = 0.0
    bells: list[threading.Event] = field(default_factory=list)

    def ring(self) -> None:
        """Wake its threads."""
        for bell in self.bells:
            bell.set()

    def run(self, bell: threading.Event, stopping: threading.Event) -> None:
        """Send what is due, until told to stop. A thread of its own; `bell` wakes it."""
        failures = 0
        while not stopping.is_set():
            bell.clear()
            try:
                busy = time.monotonic() >= self.rest_until and self.step()
                failures = 0
                if not busy:
                    self.channel.keep_ready()
                    bell.wait(POLL_S)
            except Exception as error:
                failures += 1
                log.warning("lane_failed", lane=self.name, error=f"{type(error).__name__}: {error}"[:300])
                pause = min(0.2 * 2 ** min(failures, 6), _LONGEST_PAUSE_S)
                stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def step(self) -> bool:
        """Send one message. Returns False where nothing is due, or nothing can be sent for the moment."""
        with unit_of_work("notification") as session:
            taken = deliveries.take(session, self.channel.name, self.urgent_only)
            if taken is None:
                return False
            with self._span(taken):
                outgoing = deliveries.prepare(session, taken)
                if outgoing is None:
                    return True
                outcome = self.channel.send(outgoing)
                trace.get_current_span().set_attribute("smartfit.outcome", _WORDS[type(outcome)])
                deliveries.settle(session, taken, outcome)
                session.flush()
            due_at = max(taken.notification.occurred_at, taken.delivery.created_at)
        self._tell(outcome, outgoing.delivery_id, outgoing.urgent)
        if isinstance(outcome, Sent):
            DELAY.labels(self.channel.name, outgoing.urgent).observe(max(0.0, (clock.now() - due_at).total_seconds()))
        return self._goes_on(outcome)

    def _span(self, taken: deliveries.Taken) -> AbstractContextManager[Span]:
        """The sending as a part of the trace of what is told; by the conventions for messaging, as events have it."""
        delivery = taken.delivery
        attributes = {
            "messaging.system": "smartfit_delivery",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self.channel.name,
            "messaging.message.id": delivery.delivery_id,
        }
        name = f"process {self.channel.name}"
        return span(name, SpanKind.CONSUMER, traceparent=delivery.traceparent, attributes=attributes)

    def _goes_on(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Away):
            self.rest_until = time.monotonic() + AWAY_S
            return False
        if isinstance(outcome, Later) and outcome.rest and not self.urgent_only:
            # The channel has had enough of us; alerts have a lane of their own, which tries all the same.
            self.rest_until = time.monotonic() + (outcome.after_s or AWAY_S)
        return True

    def _tell(self, outcome: Outcome, delivery_id: str, urgent: bool) -> None:
        word = _WORDS[type(outcome)]
        SENT.labels(self.channel.name, urgent, word).inc()
        if isinstance(outcome, Later | Never):
            log.warning(
                "not_sent",
                lane=self.name,
                delivery_id=delivery_id,
                outcome=word,
                reason=outcome.reason,
                after_s=getattr(outcome, "after_s", None),
            )
