"""The limit: pika and a quorum queue with nothing else, `python -m tests.benchmarks.events.limit publish|consume URL QUEUE NUMBER SIZE BATCH`.

`publish` sends NUMBER persistent messages of SIZE bytes. BATCH 1: each is confirmed before the next, as pika's BlockingChannel does.
Above that, so many are on their way before their confirms are waited for, as with the product's relay. `consume` takes messages
until it has had none for two seconds and acknowledges each (BATCH 1), or all that had come by then at once, as the product's
consumer does. Both wait for a line on stdin, and print the seconds since 1970 at which they began and ended, and the number of
messages.
"""

import itertools
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

from platform_api.core.events.bus import Outcomes
from platform_api.core.events.bus.confirms import ConfirmedChannel, Message
from platform_api.core.events.bus.rabbitmq import PREFETCH

_ROOT = Path(__file__).resolve().parents[3]


def publish(channel: BlockingChannel, queue: str, number: int, size: int) -> int:
    """Publish with confirms, one by one."""
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for _ in range(number):
        channel.basic_publish("", queue, b"x" * size, properties, mandatory=True)
    return number


def publish_in_batches(channel: BlockingChannel, queue: str, number: int, size: int, batch: int) -> int:
    """Publish with confirms in a pipeline."""
    confirmed = ConfirmedChannel(channel)
    properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for begin in range(0, number, batch):
        outcomes = Outcomes()
        messages = [
            Message(uuid.uuid4(), "", queue, b"x" * size, properties, mandatory=True)
            for _ in range(min(batch, number - begin))
        ]
        confirmed.publish(messages, outcomes)
        assert list(outcomes.values()) == [None] * len(messages)
    return number


def consume(channel: BlockingChannel, queue: str, batch: int) -> tuple[int, float]:
    """Consume with acknowledgements. Returns (messages, when the last was acknowledged)."""
    channel.basic_qos(prefetch_count=PREFETCH)
    had, last = 0, time.time()
    deliveries = channel.consume(queue, inactivity_timeout=2.0)
    for delivery in deliveries:
        if delivery[0] is None:
            break
        waiting = min(batch - 1, channel.get_waiting_message_count())
        taken = [delivery, *itertools.islice(deliveries, waiting)]
        channel.basic_ack(taken[-1][0].delivery_tag, multiple=batch > 1)
        had, last = had + len(taken), time.time()
    channel.cancel()
    return had, last


def main() -> None:
    """One publisher or consumer."""
    role, url, queue, number, size, batch = sys.argv[1:]
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.time()
        if role == "consume":
            had, ended = consume(channel, queue, int(batch))
        elif int(batch) == 1:
            had, ended = publish(channel, queue, int(number), int(size)), time.time()
        else:
            had, ended = publish_in_batches(channel, queue, int(number), int(size), int(batch)), time.time()
    print(begun, ended, had)


def measure(url: str, publishers: int, consumers: int, number: int, size: int, batch: int = 1) -> dict[str, float]:
    """Rates with so many processes of each kind and `number` messages in all.

    Returns:
        published_per_s: confirmed messages a second; events_per_s: from the first publish to the last acknowledgement.
    """
    queue = f"limit.{publishers}.{batch}"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    roles = ["consume"] * consumers + ["publish"] * publishers
    processes = []
    for role in roles:
        command = [sys.executable, "-m", "tests.benchmarks.events.limit", role, url, queue]
        command += [str(number // publishers), str(size), str(batch)]
        processes.append(subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    # The first line on stdin begins the work; publishers come last, so the consumers wait for them already.
    told = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for role, process in zip(roles, processes, strict=True):
        begun, ended, had = map(float, process.communicate(timeout=120)[0].split())
        told.append((role, begun, ended, had))
    sent = [line for line in told if line[0] == "publish"]
    taken = [line for line in told if line[0] == "consume" and line[3]]
    assert sum(line[3] for line in taken) >= sum(line[3] for line in sent)
    begun = min(line[1] for line in sent)
    total = sum(line[3] for line in sent)
    return {
        "published_per_s": round(total / (max(line[2] for line in sent) - begun), 1),
        "events_per_s": round(total / (max(line[2] for line in taken) - begun), 1),
    }


if __name__ == "__main__":
    main()
