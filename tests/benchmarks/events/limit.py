"""The limit: pika and a quorum queue with nothing else, `python -m tests.benchmarks.events.limit publish|consume URL QUEUE NUMBER SIZE`.

`publish` sends NUMBER persistent messages of SIZE bytes, each confirmed before the next, as the product's relay does.
`consume` takes messages and acknowledges each until it has had none for two seconds. Both wait for a line on stdin, and
print the seconds since 1970 at which they began and ended, and the number of messages.
"""

import subprocess
import sys
import time
from pathlib import Path

import pika

from platform_api.core.events.bus.rabbitmq import PREFETCH

_ROOT = Path(__file__).resolve().parents[3]


def publish(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str, number: int, size: int) -> int:
    """Publish with confirms."""
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for _ in range(number):
        channel.basic_publish("", queue, b"x" * size, properties, mandatory=True)
    return number


def consume(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> tuple[int, float]:
    """Consume with acknowledgements. Returns (messages, when the last was acknowledged)."""
    channel.basic_qos(prefetch_count=PREFETCH)
    had, last = 0, time.time()
    for method, _, _ in channel.consume(queue, inactivity_timeout=2.0):
        if method is None:
            break
        channel.basic_ack(method.delivery_tag)
        had, last = had + 1, time.time()
    channel.cancel()
    return had, last


def main() -> None:
    """One publisher or consumer."""
    role, url, queue, number, size = sys.argv[1:]
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.time()
        if role == "publish":
            had, ended = publish(channel, queue, int(number), int(size)), time.time()
        else:
            had, ended = consume(channel, queue)
    print(begun, ended, had)


def measure(url: str, publishers: int, consumers: int, number: int, size: int) -> dict[str, float]:
    """Rates with so many processes of each kind and `number` messages in all.

    Returns:
        published_per_s: confirmed messages a second; events_per_s: from the first publish to the last acknowledgement.
    """
    queue = f"limit.{publishers}"
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    roles = ["consume"] * consumers + ["publish"] * publishers
    processes = []
    for role in roles:
        command = [sys.executable, "-m", "tests.benchmarks.events.limit", role, url, queue]
        command += [str(number // publishers), str(size)]
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
