"""What carries events from an outbox to the inboxes: one interface, several carriers.

`bus.local` needs no broker (embedded, tests); the RabbitMQ bus stands behind the same interface.
"""

from typing import Protocol

from platform_api.core.events.envelope import Event


class Bus(Protocol):
    """A carrier of events."""

    def publish(self, event: Event) -> None:
        """Hand the event over for every subscriber. Returns when it is safe with the carrier; raises otherwise."""
