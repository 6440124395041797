"""What carries events from an outbox to the inboxes: one interface, several carriers.

`bus.local` needs no broker (embedded, tests); the RabbitMQ bus stands behind the same interface.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from platform_api.core.events.envelope import Event


class BusUnavailable(Exception):
    """The carrier itself is away: no other event would get through either."""


class Bus(Protocol):
    """A carrier of events."""

    def publish(self, event: Event) -> None:
        """Hand the event over for every subscriber. Returns when it is safe with the carrier.

        Raises:
            BusUnavailable: the carrier is away; others need not be tried.
            Exception: this event cannot be handed over now.
        """

    def keep_alive(self) -> None:
        """Called by a thread that publishes, every second or so while it has nothing to publish."""

    def consumers(self, subscriber: str) -> list[Callable[[threading.Event], None]]:
        """What must run, each in a thread of its own until the event is set, to bring a subscriber's events in."""
