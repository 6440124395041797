"""The bus without a broker: straight from the outbox into the inbox tables of the subscribers.

The inbox table is the durable queue, so that one subscriber's trouble holds nobody else up and a crash loses
nothing. Publishing again is harmless: (event id, subscriber) is the key.
"""

import threading
from collections.abc import Callable, Sequence

from sqlalchemy import text

from platform_api.core.database import unit_of_work
from platform_api.core.events.bus import Outcomes, one_by_one
from platform_api.core.events.envelope import Event
from platform_api.core.events.inbox import CHANNEL, SYSTEM, receive
from platform_api.core.events.registry import subscribers
from platform_api.core.events.spans import sending


class LocalBus:
    """See the module."""

    def publish(self, event: Event) -> None:
        """Put the event into each subscriber's inbox and wake its consumer."""
        with sending(event, SYSTEM, event.type) as sent:
            for subscriber in subscribers(event.type):
                with unit_of_work(subscriber) as session:
                    if receive(session, sent, subscriber):
                        session.execute(text(f"NOTIFY {CHANNEL}"))

    def publish_all(self, events: Sequence[Event], seconds: float) -> Outcomes:
        """One after the other: there is nothing to wait for between two."""
        return one_by_one(self.publish, events, seconds)

    def keep_alive(self) -> None:
        """Nothing: there is no connection of its own."""

    def consumers(self, subscriber: str) -> list[Callable[[threading.Event], None]]:
        """None: events are put straight into the inbox."""
        return []
