"""The production bus: RabbitMQ, by pika.

One topic exchange; for each subscriber a quorum queue a lane (see `events.lanes`), bound to the types it hears, with
a delivery limit and a dead-letter queue. Messages are persistent; publishing returns when the broker has confirmed.
`mandatory` makes an event that should have a subscriber but reaches no queue an error, not a loss.

A consumer handles a message in one transaction with its inbox row and acknowledges after the commit. A handler that
fails leaves the event in the inbox, which tries again with backoff; so the broker's delivery limit is only spent by
consumers that die on a message, and its dead-letter queue only holds what cannot be read at all.
"""

import json
import random
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, UnroutableError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from platform_api.core.database import unit_of_work
from platform_api.core.events.envelope import Event, InvalidEvent
from platform_api.core.events.inbox import accept
from platform_api.core.events.lanes import LANES, lane
from platform_api.core.events.registry import all_types, subscribers
from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

EXCHANGE = "smartfit.events"
DEAD_EXCHANGE = "smartfit.dead"
DELIVERY_LIMIT = 20
PREFETCH = 32
_LONGEST_WAIT = 10.0


def parameters(urls: str) -> list[pika.URLParameters]:
    """Connection parameters of the nodes in `urls` (comma-separated amqp:// or amqps:// URLs).

    Raises:
        SettingsError: not such URLs.
    """
    found = []
    for url in urls.split(","):
        try:
            node = pika.URLParameters(url.strip())
        except (ValueError, TypeError, IndexError) as error:
            raise SettingsError(f"SMARTFIT_RABBITMQ_URL: AMQP 주소가 아닙니다 (not an AMQP URL): {error}") from error
        node.heartbeat = 15
        node.blocked_connection_timeout = 15
        node.socket_timeout = 5
        node.connection_attempts = 1
        found.append(node)
    return found


def queue_name(subscriber: str, lane_name: str) -> str:
    """The queue of a subscriber's lane."""
    return f"smartfit.{subscriber}.{lane_name}"


def dead_queue_name(subscriber: str) -> str:
    """The queue where a subscriber's unreadable messages end."""
    return f"smartfit.{subscriber}.dead"


def declare(channel: BlockingChannel, subscriber: str) -> None:
    """Declare the exchanges, queues and bindings of a subscriber; may be repeated."""
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    channel.exchange_declare(DEAD_EXCHANGE, "direct", durable=True)
    dead = dead_queue_name(subscriber)
    channel.queue_declare(dead, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(dead, DEAD_EXCHANGE, routing_key=subscriber)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_EXCHANGE,
        "x-dead-letter-routing-key": subscriber,
        # At-least-once dead lettering: a message leaves its queue only when the dead-letter queue has it.
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    for name in LANES:
        channel.queue_declare(queue_name(subscriber, name), durable=True, arguments=arguments)
    for type in all_types(subscriber):
        channel.queue_bind(queue_name(subscriber, lane(type)), EXCHANGE, routing_key=type)


class RabbitBus:
    """Publishes with confirms. One connection for each thread that publishes; made anew after an error."""

    def __init__(self, urls: str, all_subscribers: Iterable[str]) -> None:
        self.urls = urls
        self.nodes = parameters(urls)
        self.subscribers = list(all_subscribers)
        self._local = threading.local()

    def publish(self, event: Event) -> None:
        """Publish and wait for the broker's confirm.

        Raises:
            AMQPError: not confirmed, returned, or the broker is away.
        """
        try:
            self._channel().basic_publish(
                EXCHANGE,
                event.type,
                json.dumps(event.to_json(), ensure_ascii=False).encode(),
                pika.BasicProperties(
                    content_type="application/cloudevents+json",
                    delivery_mode=pika.DeliveryMode.Persistent,
                    message_id=str(event.id),
                    type=event.type,
                ),
                mandatory=bool(subscribers(event.type)),
            )
        except UnroutableError:
            # A queue is missing (a broker made anew): declare all again before the next try.
            self._local.channel = None
            raise
        except AMQPError:
            self.close()
            raise

    def consumers(self, subscriber: str) -> list[Callable[[threading.Event], None]]:
        """One for each lane."""
        return [Consumer(self.urls, subscriber, name).run for name in LANES]

    def close(self) -> None:
        """Close this thread's connection."""
        connection, self._local.connection, self._local.channel = getattr(self._local, "connection", None), None, None
        _close(connection)

    def _channel(self) -> BlockingChannel:
        channel = getattr(self._local, "channel", None)
        if channel is None or channel.is_closed:
            connection = getattr(self._local, "connection", None)
            if connection is None or connection.is_closed:
                connection = self._local.connection = pika.BlockingConnection(_shuffled(self.nodes))
            channel = connection.channel()
            for subscriber in self.subscribers:
                declare(channel, subscriber)
            channel.confirm_delivery()
            self._local.channel = channel
        return channel


class Consumer:
    """Consumes one lane of one subscriber until told to stop; then finishes what it has in hand and leaves."""

    def __init__(self, urls: str, subscriber: str, lane_name: str) -> None:
        self.nodes = parameters(urls)
        self.subscriber = subscriber
        self.queue = queue_name(subscriber, lane_name)

    def run(self, stopping: threading.Event) -> None:
        """Consume; connects again, with jittered backoff, as often as needed."""
        failures = 0
        while not stopping.is_set():
            connection = None
            try:
                connection = pika.BlockingConnection(_shuffled(self.nodes))
                channel = connection.channel()
                declare(channel, self.subscriber)
                channel.basic_qos(prefetch_count=PREFETCH)
                failures = 0
                self._consume(channel, stopping)
            except (AMQPError, OSError) as error:
                failures += 1
                log.warning("broker_away", queue=self.queue, error=f"{type(error).__name__}: {error}"[:200])
                wait = min(0.2 * 2 ** min(failures, 6), _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                stopping.wait(wait)
            finally:
                _close(connection)

    def _consume(self, channel: BlockingChannel, stopping: threading.Event) -> None:
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.5):
            if method is not None:
                self._take(channel, method, properties, body, stopping)
            if stopping.is_set():
                # What was prefetched and not handled goes back to the queue.
                channel.cancel()
                return

    def _take(
        self, channel: BlockingChannel, method: Any, properties: Any, body: bytes, stopping: threading.Event
    ) -> None:
        try:
            event = Event.from_json(json.loads(body))
        except (InvalidEvent, ValueError) as error:
            log.error("unreadable_message", queue=self.queue, message_id=properties.message_id, error=str(error)[:300])
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        while not stopping.is_set():
            try:
                with unit_of_work(self.subscriber) as session:
                    accept(session, event, self.subscriber)
            except (DBAPIError, PoolTimeout) as error:
                # The database is away. The message waits here, unacknowledged, and spends no delivery.
                log.warning("database_away", queue=self.queue, error=type(error).__name__)
                channel.connection.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            else:
                channel.basic_ack(method.delivery_tag)
                return


def check(urls: str) -> Callable[[], None]:
    """A readiness check: raises unless a node of the broker lets us in."""

    def reach() -> None:
        _close(pika.BlockingConnection(_shuffled(parameters(urls))))

    return reach


def _shuffled(nodes: list[pika.URLParameters]) -> list[pika.URLParameters]:
    return random.sample(nodes, len(nodes))


def _close(connection: pika.BlockingConnection | None) -> None:
    try:
        if connection is not None and connection.is_open:
            connection.close()
    except (AMQPError, OSError) as error:
        log.info("connection_lost_while_closing", error=type(error).__name__)
