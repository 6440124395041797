"""Publisher confirms of RabbitMQ in a pipeline: many messages on their way, and each settled by a confirm of its own.

pika's BlockingChannel waits for each confirm before it publishes the next, so a relay did nothing most of the time. The channel
beneath it (pika.channel.Channel) takes callbacks; here they settle what was published, and nothing else is done in them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError
from pika.frame import Method
from pika.spec import Basic

from platform_api.core.events.bus import Outcomes


@dataclass(frozen=True)
class Message:
    """What is published; `id` stands in `properties.message_id` as well."""

    id: UUID
    exchange: str
    routing_key: str
    body: bytes
    properties: pika.BasicProperties
    mandatory: bool


class ConfirmedChannel:
    """A channel in confirm mode, for one thread."""

    def __init__(self, channel: BlockingChannel) -> None:
        """Take over a channel on which nothing was published.

        Raises:
            AMQPError, OSError: the channel or its connection was lost.
        """
        self._channel = channel
        self._beneath = channel._impl
        self._tag = 0
        self._waiting: dict[int, UUID] = {}
        self._returned: set[str] = set()
        self._settled = Outcomes()
        selected: list[object] = []
        self._beneath.add_on_return_callback(self._on_return)
        self._beneath.confirm_delivery(self._on_confirm, callback=selected.append)
        channel._flush_output(lambda: bool(selected))

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be published any more."""
        return bool(self._channel.is_closed)

    def publish(self, messages: Iterable[Message], settled: Outcomes) -> None:
        """Publish all and wait until each is settled: None for a confirm, else UnroutableError or NackError.

        Args:
            settled: gets what came of each as soon as it is known.

        Raises:
            AMQPError, OSError: the channel or its connection was lost; of what is not settled nobody knows.
        """
        self._settled = settled
        self._waiting.clear()
        self._returned.clear()
        for message in messages:
            self._beneath.basic_publish(
                message.exchange, message.routing_key, message.body, message.properties, mandatory=message.mandatory
            )
            self._tag += 1
            self._waiting[self._tag] = message.id
        self._channel._flush_output(lambda: not self._waiting)

    def _on_return(self, _channel: object, _method: object, properties: pika.BasicProperties, _body: bytes) -> None:
        # The broker confirms a message that reached no queue as well, right after it was returned.
        self._returned.add(str(properties.message_id))

    def _on_confirm(self, frame: Method[Any]) -> None:
        method = frame.method
        tags = (
            [tag for tag in self._waiting if tag <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        )
        for id in [self._waiting.pop(tag) for tag in tags if tag in self._waiting]:
            if isinstance(method, Basic.Nack):
                self._settled[id] = NackError([])
            else:
                self._settled[id] = UnroutableError([]) if str(id) in self._returned else None
