"""The production bus: RabbitMQ, by pika.

One topic exchange; for each subscriber a quorum queue a lane (see `events.lanes`), bound to the types it hears, with
a delivery limit and a dead-letter queue. Messages are persistent; publishing returns when the broker has confirmed, and many may be on their way before.
`mandatory` makes an event that should have a subscriber but reaches no queue an error, not a loss.

A consumer handles a message, or several that wait, in one transaction with the inbox rows and acknowledges after the commit.
A handler that fails leaves the event in the inbox, which tries again with backoff. An event of a type or a version that this release
does not know becomes a dead letter of the inbox. So the broker's delivery limit is only spent by consumers that die on
a message, and its dead-letter queue only holds those messages and what is no event at all; see `replay_dead`.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPChannelError, AMQPConnectionError, AMQPError, ChannelClosedByBroker
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from platform_api.core.database import unit_of_work
from platform_api.core.events.bus import BusUnavailable, Outcomes, one_by_one
from platform_api.core.events.bus.confirms import ConfirmedChannel, Message
from platform_api.core.events.envelope import MOST_BYTES, Event, InvalidEvent
from platform_api.core.events.inbox import accept, accept_all, bury
from platform_api.core.events.lanes import LANES, lane
from platform_api.core.events.registry import all_types, subscribers
from platform_api.core.events.spans import processing, sending, sending_all
from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

SYSTEM = "rabbitmq"
EXCHANGE = "smartfit.events"
DEAD_EXCHANGE = "smartfit.dead"
DELIVERY_LIMIT = 20
PREFETCH = 32
TOGETHER_SECONDS = 0.1
"""Longest transaction in which a consumer handles several messages: locks are held for so long, and effects wait."""
HEARTBEAT = 15
ANSWER_SECONDS = 20.0
"""Longest wait for the broker's answer (a confirm, a declared queue). A broker that lives, and so answers heartbeats, may
never confirm: a quorum queue without a leader, or one that was deleted while the message was on its way."""
_LONGEST_WAIT = 10.0
_NOT_FOUND = 404


def parameters(urls: str) -> list[pika.URLParameters]:
    """Connection parameters of the nodes in `urls` (comma-separated amqp:// or amqps:// URLs; ?heartbeat=SECONDS).

    Raises:
        SettingsError: not such URLs.
    """
    found = []
    for url in urls.split(","):
        try:
            node = pika.URLParameters(url.strip())
        except (ValueError, TypeError, IndexError) as error:
            raise SettingsError(f"SMARTFIT_RABBITMQ_URL: AMQP 주소가 아닙니다 (not an AMQP URL): {error}") from error
        if node.heartbeat is None:
            node.heartbeat = HEARTBEAT
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
            AMQPError: refused, or returned.
            BusUnavailable: no node of the broker can be reached, or it does not confirm within ANSWER_SECONDS.
        """
        with sending(event, SYSTEM, _destination(event)) as sent:
            self._publish(sent)

    def publish_all(self, events: Sequence[Event], seconds: float) -> Outcomes:
        """Publish all and wait for their confirms; see `Bus.publish_all`."""
        begun, outcomes = time.monotonic(), Outcomes()
        try:
            with sending_all(events, SYSTEM, _destination, outcomes) as sent:
                self._send(sent, outcomes)
        except (AMQPError, OSError) as error:
            # Which of those in flight was the cause, if one was, can only be told one by one.
            log.info("confirms_lost", settled=len(outcomes), events=len(events), error=type(error).__name__)
        left = [event for event in events if event.id not in outcomes]
        return outcomes | one_by_one(self.publish, left, seconds - (time.monotonic() - begun))

    def _publish(self, event: Event) -> None:
        held = getattr(self._local, "connection", None) is not None
        outcomes = Outcomes()
        try:
            self._send([event], outcomes)
        except AMQPChannelError:
            raise
        except (AMQPError, OSError) as error:
            if not held:
                raise BusUnavailable(f"{type(error).__name__}: {error}") from error
            # The connection we had was lost, a new one may be had at once. What was taken comes twice, harmlessly.
            self._publish(event)
        else:
            refused = outcomes[event.id]
            if refused is not None:
                raise refused

    def _send(self, events: Sequence[Event], outcomes: Outcomes) -> None:
        messages = []
        for event in events:
            try:
                messages.append(_message(event))
            except Exception as error:  # this event's own fault, and nobody else's
                outcomes[event.id] = error
        try:
            with _answering(self._connection()):
                self._channel().publish(messages, outcomes)
        except (AMQPError, OSError):
            self.close()
            raise
        if any(outcomes.values()):
            # Made anew, with all queues, before the next try: a queue may be missing (a broker made anew).
            self.close()

    def keep_alive(self) -> None:
        """Answer the broker's heartbeats, without which it closes a connection that has nothing to publish."""
        connection = getattr(self._local, "connection", None)
        try:
            if connection is not None:
                connection.process_data_events(0)
        except (AMQPError, OSError):
            self.close()

    def consumers(self, subscriber: str) -> list[Callable[[threading.Event], None]]:
        """One for each lane."""
        return [Consumer(self.urls, subscriber, name).run for name in LANES]

    def close(self) -> None:
        """Close this thread's connection."""
        connection, self._local.connection, self._local.channel = getattr(self._local, "connection", None), None, None
        _close(connection)

    def _connection(self) -> pika.BlockingConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None or connection.is_closed:
            connection = self._local.connection = pika.BlockingConnection(_shuffled(self.nodes))
        return connection

    def _channel(self) -> ConfirmedChannel:
        channel = getattr(self._local, "channel", None)
        if channel is None or channel.is_closed:
            plain = self._connection().channel()
            for subscriber in self.subscribers:
                declare(plain, subscriber)
            channel = self._local.channel = ConfirmedChannel(plain)
        return channel


@dataclass(frozen=True)
class _Unknown:
    """A document that this release cannot read; another may."""

    document: Any
    error: InvalidEvent


_Delivery = tuple[Any, Any, bytes]
_Read = tuple[Any, Any, _Unknown | Event]


class Consumer:
    """Consumes one lane of one subscriber until told to stop; then finishes what it has in hand and leaves.

    What waits is handled together, in one transaction, as many as are done within TOGETHER_SECONDS (twice as many after each
    batch that was). Where anything in it fails, all of it is undone, and each message is handled by itself: the one at fault is
    put off or rejected, the others are done.
    """

    def __init__(self, urls: str, subscriber: str, lane_name: str) -> None:
        self.nodes = parameters(urls)
        self.subscriber = subscriber
        self.queue = queue_name(subscriber, lane_name)
        self._together = 1

    def run(self, stopping: threading.Event) -> None:
        """Consume; connects again, with jittered backoff, as often as needed."""
        failures = 0
        while not stopping.is_set():
            connection = None
            try:
                connection = pika.BlockingConnection(_shuffled(self.nodes))
                with _answering(connection):
                    channel = connection.channel()
                    declare(channel, self.subscriber)
                    channel.basic_qos(prefetch_count=PREFETCH)
                failures = 0
                self._consume(channel, stopping)
            except Exception as error:
                failures += 1
                away = isinstance(error, AMQPError | OSError)
                name = "broker_away" if away else "consumer_failed"
                described = f"{type(error).__name__}: {error}"[:200]
                log.warning(name, queue=self.queue, error=described, exc_info=None if away else error)
                wait = min(0.2 * 2 ** min(failures, 6), _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                stopping.wait(wait)
            finally:
                _close(connection)

    def _consume(self, channel: BlockingChannel, stopping: threading.Event) -> None:
        deliveries = channel.consume(self.queue, inactivity_timeout=0.5)
        for delivery in deliveries:
            if delivery[0] is not None:
                waiting = min(self._together - 1, channel.get_waiting_message_count())
                self._take(channel, [delivery, *itertools.islice(deliveries, waiting)], stopping)
            if stopping.is_set():
                # What was prefetched and not handled goes back to the queue.
                channel.cancel()
                return

    def _take(self, channel: BlockingChannel, deliveries: list[_Delivery], stopping: threading.Event) -> None:
        readable = []
        for method, properties, body in deliveries:
            try:
                readable.append((method, properties, _read(body)))
            except Exception as error:  # whatever is in it: it must not come again, nor stop the consumer
                self._reject(channel, method, properties, error)
        begun = time.monotonic()
        if not self._take_together(channel, readable):
            for method, properties, read in readable:
                self._take_one(channel, method, properties, read, stopping)
        if time.monotonic() - begun > TOGETHER_SECONDS:
            self._together = max(1, len(readable) // 2)
        elif len(readable) == self._together:
            self._together = min(2 * self._together, PREFETCH)

    def _take_together(self, channel: BlockingChannel, readable: list[_Read]) -> bool:
        """Handle all in one transaction. Returns False, with nothing done, where that is not to be."""
        events = [read for _, _, read in readable if isinstance(read, Event)]
        if not 1 < len(events) == len(readable):
            return False
        try:
            with unit_of_work(self.subscriber) as session:
                accept_all(session, events, self.subscriber, self._processing)
        except Exception as error:
            log.info("handled_one_by_one", queue=self.queue, events=len(events), error=type(error).__name__)
            return False
        channel.basic_ack(readable[-1][0].delivery_tag, multiple=True)
        return True

    def _take_one(
        self, channel: BlockingChannel, method: Any, properties: Any, read: _Unknown | Event, stopping: threading.Event
    ) -> None:
        while not stopping.is_set():
            try:
                with unit_of_work(self.subscriber) as session:
                    self._keep(session, read)
            except InvalidEvent as error:
                self._reject(channel, method, properties, error)
                return
            except (DBAPIError, PoolTimeout) as error:
                if _cannot_be_stored(error):
                    self._reject(channel, method, properties, error)
                    return
                # The database is away. The message waits here, unacknowledged, and spends no delivery.
                log.warning("database_away", queue=self.queue, error=type(error).__name__)
                channel.connection.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            else:
                channel.basic_ack(method.delivery_tag)
                return

    def _keep(self, session: Session, read: _Unknown | Event) -> None:
        if isinstance(read, Event):
            with self._processing(read):
                accept(session, read, self.subscriber)
        elif not bury(session, read.document, self.subscriber, read.error):
            raise read.error

    def _processing(self, event: Event) -> AbstractContextManager[None]:
        destination = f"{EXCHANGE}:{event.type}:{self.queue}"
        return processing(str(event.id), event.type, event.traceparent, SYSTEM, destination)

    def _reject(self, channel: BlockingChannel, method: Any, properties: Any, error: Exception) -> None:
        log.error("unreadable_message", queue=self.queue, message_id=properties.message_id, error=str(error)[:300])
        channel.basic_reject(method.delivery_tag, requeue=False)


def _read(body: bytes) -> _Unknown | Event:
    """The event in a message. Raises where it is no event and cannot become one."""
    if len(body) > MOST_BYTES:
        raise InvalidEvent(f"{len(body):,} bytes, at most {MOST_BYTES:,}")
    document = json.loads(body)
    try:
        return Event.from_json(document)
    except InvalidEvent as error:
        return _Unknown(document, error)


@contextmanager
def _answering(connection: pika.BlockingConnection) -> Iterator[None]:
    """The connection is lost, an AMQPConnectionError, where what is asked inside is not answered within ANSWER_SECONDS."""
    late = AMQPConnectionError(f"no answer of the broker within {ANSWER_SECONDS:g} s")
    # pika's blocking calls know no time limit, and its own timers (call_later) do not run within them: so a timer of the
    # connection beneath, ending it as pika ends one whose heartbeat is missing.
    beneath = connection._impl
    timer = beneath._adapter_call_later(ANSWER_SECONDS, lambda: beneath._terminate_stream(late))
    try:
        yield
    finally:
        beneath._adapter_remove_timeout(timer)


def dead_messages(urls: str, subscriber: str) -> int:
    """Number of messages in a subscriber's dead-letter queue.

    Raises:
        AMQPError, OSError: the broker is away.
    """
    with pika.BlockingConnection(_shuffled(parameters(urls))) as connection:
        return _waiting(connection.channel(), dead_queue_name(subscriber))


def replay_dead(urls: str, subscriber: str) -> int:
    """Put what is in a subscriber's dead-letter queue back where it came from. Returns how many there were.

    What still cannot be read comes to the dead-letter queue again.

    Raises:
        AMQPError, OSError: the broker is away; nothing is lost.
    """
    queue, moved = dead_queue_name(subscriber), 0
    with pika.BlockingConnection(_shuffled(parameters(urls))) as connection:
        count = _waiting(connection.channel(), queue)
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(count):
            method, properties, body = channel.basic_get(queue)
            if method is None:
                break
            origin = (properties.headers or {}).get("x-first-death-queue", queue_name(subscriber, "work"))
            # Fresh properties: the headers of its death would count against it.
            again = _properties(properties.message_id, properties.type)
            channel.basic_publish("", origin, body, again, mandatory=True)
            channel.basic_ack(method.delivery_tag)
            moved += 1
    return moved


def check(urls: str) -> Callable[[], None]:
    """A readiness check: raises unless a node of the broker lets us in."""

    def reach() -> None:
        _close(pika.BlockingConnection(_shuffled(parameters(urls))))

    return reach


def _waiting(channel: BlockingChannel, queue: str) -> int:
    """Messages in a queue; 0 where there is none, since nobody listens. The channel is not to be used again."""
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code != _NOT_FOUND:
            raise
        return 0


def _destination(event: Event) -> str:
    return f"{EXCHANGE}:{event.type}"


def _message(event: Event) -> Message:
    properties = _properties(str(event.id), event.type)
    return Message(
        event.id, EXCHANGE, event.type, event.to_bytes(), properties, mandatory=bool(subscribers(event.type))
    )


def _properties(message_id: str | None, type: str | None) -> pika.BasicProperties:
    return pika.BasicProperties(
        content_type="application/cloudevents+json",
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=message_id,
        type=type,
    )


def _cannot_be_stored(error: Exception) -> bool:
    # Class 22, data exception: JSON that PostgreSQL cannot keep, such as a NUL in a text or a number that is none.
    return isinstance(error, DBAPIError) and (getattr(error.orig, "pgcode", None) or "").startswith("22")


def _shuffled(nodes: list[pika.URLParameters]) -> list[pika.URLParameters]:
    return random.sample(nodes, len(nodes))


def _close(connection: pika.BlockingConnection | None) -> None:
    try:
        if connection is not None and connection.is_open:
            with _answering(connection):
                connection.close()
    except (AMQPError, OSError) as error:
        log.info("connection_lost_while_closing", error=type(error).__name__)
