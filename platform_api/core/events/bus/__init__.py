"""What carries events from an outbox to the inboxes: one interface, several carriers.

`bus.local` needs no broker (embedded, tests); the RabbitMQ bus stands behind the same interface.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

from platform_api.core.events.envelope import Event

Outcomes = dict[UUID, Exception | None]
"""What came of events that were tried, by id: None, or why the event is not safe with the carrier."""


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

    def publish_all(self, events: Sequence[Event], seconds: float) -> Outcomes:
        """Hand events over in their order, each as `publish` does; others may be on their way before one is safe.

        Ends at the first BusUnavailable, and begins with no other event after so many seconds. What is missing from the
        outcomes was not tried.
        """

    def keep_alive(self) -> None:
        """Called by a thread that publishes, every second or so while it has nothing to publish."""

    def consumers(self, subscriber: str) -> list[Callable[[threading.Event], None]]:
        """What must run, each in a thread of its own until the event is set, to bring a subscriber's events in."""


def one_by_one(publish: Callable[[Event], None], events: Iterable[Event], seconds: float) -> Outcomes:
    """`Bus.publish_all` by means of `Bus.publish`, each safe before the next."""
    deadline, found = time.monotonic() + seconds, Outcomes()
    for event in events:
        try:
            publish(event)
        except Exception as error:
            found[event.id] = error
            if isinstance(error, BusUnavailable):
                break
        else:
            found[event.id] = None
        if time.monotonic() > deadline:
            break
    return found
