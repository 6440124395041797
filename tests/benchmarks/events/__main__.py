"""`python -m tests.benchmarks.events`: events from outbox to effect through a real RabbitMQ, with one relay and with four.

PostgreSQL (fsync on), a RabbitMQ node with quorum queues and publisher confirms, the product's relays and consumers in
processes of their own, and as many consumers as relays. Two measurements of each:

- rate: a burst of events becomes visible in the outbox by one commit, with everything running and idle. Events a second, until
  the last is marked sent (relayed) and until the last effect is committed (events_per_s).
- delay: events committed one by one at a steady rate, well below saturation; from the moment the producer asks for the
  commit to the moment its effect is committed in the subscriber's database.

Beside it the limit in the same run: bare pika with confirms and acknowledgements, messages of the same size, the same
number of processes, no database; once each confirmed before the next, and once in the relay's own batches. How busy the machine
was with other things (percent of all cores, for two seconds before each) stands beside the figures; where it is, as root:
`chrt -r 1 make bench NAME=events`.
"""

import argparse
import json
import time
import uuid
from collections import Counter
from typing import Any

import numpy as np
import psutil
from sqlalchemy import func, select

from infra.local.rabbitmq import RabbitNode
from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, publish
from platform_api.core.events.relay import BATCH
from platform_api.core.models import OutboxEvent
from tests.benchmarks.capacity.quantiles import milliseconds
from tests.benchmarks.events import limit
from tests.benchmarks.events.report import tables
from tests.events_world import PRODUCER, TYPE, Line, entry, send, standing
from tests.results import save, sized, table
from tests.waiting import wait_for

RELAYS = (1, 4)
SETTLE_S = 1.5
LEAST_OF_EACH_CONFIRMED, LEAST_OF_BATCHES = 1.0, 0.15
MOST_P95_MS = 50.0
BAR = (
    f"One relay and one consumer, with two databases' commits and a handler, have at least {LEAST_OF_EACH_CONFIRMED:.0%} of the events a "
    f"second of bare pika that confirms each message and {LEAST_OF_BATCHES:.0%} of bare pika with as many in flight; P95 from commit to "
    f"effect is at most {MOST_P95_MS:g} ms at 50 a second, with one and four of each; no event lost or doubled"
)


def burst(line: Line, number: int) -> dict[str, float]:
    """Rates of a burst."""
    before = line.count()
    ids = set(send(number))
    begun = time.time()  # just after the commit
    wait_for(lambda: line.count() >= before + number, 120, "the burst has had its effect", every=0.25)
    time.sleep(SETTLE_S)
    assert line.unsent() == 0
    assert line.count() == before + number
    committed = line.committed()
    with unit_of_work(PRODUCER) as session:
        sent = session.scalar(select(func.max(OutboxEvent.sent_at)))
    assert sent is not None
    return {
        "relayed_per_s": round(number / (sent.timestamp() - begun), 1),
        "events_per_s": round(number / (max(committed[event_id] for event_id in ids) - begun), 1),
    }


def steady(line: Line, rate: float, seconds: float) -> dict[str, Any]:
    """Delays at a steady rate, in ms."""
    asked: dict[str, float] = {}
    begun = time.time()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, begun + number / rate - time.time()))
        with unit_of_work(PRODUCER) as session:
            event = publish(session, TYPE, str(uuid.uuid4()), 1, entry())
            at = time.time()
        asked[str(event.id)] = at
    took = time.time() - begun
    wait_for(lambda: asked.keys() <= line.committed().keys(), 60, "the last effects", every=0.5)
    committed = line.committed()
    delays = [committed[event_id] - at for event_id, at in asked.items()]
    p50, p95, p99 = np.percentile(delays, (50, 95, 99)) * 1000
    return {
        "rate_per_s": round(len(asked) / took, 1),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(max(delays) * 1000, 1),
        "delay_ms": milliseconds(delays),
    }


def run(number: int, rate: float, seconds: float) -> dict[str, Any]:
    """All measurements: `runs`, one for each number of relays; and what became of all events."""
    size = len(json.dumps(Event.new(TYPE, str(uuid.uuid4()), 1, entry()).to_json(), ensure_ascii=False).encode())
    runs = []
    with standing(lambda folder: [RabbitNode(folder)]) as line:
        for relays in RELAYS:
            busy = psutil.cpu_percent(2.0)  # by others: nothing of ours works now
            bare = limit.measure(line.nodes[0].url, relays, relays, number, size)
            together = limit.measure(line.nodes[0].url, relays, relays, 2 * number, size, BATCH)
            line.start("consumer", relays)
            line.start("relay", relays)
            burst(line, min(200, number))  # connections, plans and caches warm
            figures: dict[str, Any] = {
                "relays": relays,
                "consumers": relays,
                "message_bytes": size,
                **burst(line, number),
            }
            time.sleep(SETTLE_S)
            figures |= steady(line, rate, seconds)
            figures["busy_before_percent"] = busy
            figures |= {f"limit_{name}": value for name, value in bare.items()}
            figures |= {f"limit_batches_{name}": value for name, value in together.items()}
            line.stop()
            runs.append(figures)
        with unit_of_work(PRODUCER) as session:
            published = {str(found) for found in session.scalars(select(OutboxEvent.event_id))}
        effects = Counter(line.effects())
        lost, doubled = published - effects.keys(), [each for each, count in effects.items() if count > 1]
    return {"runs": runs, "events": len(published), "lost": len(lost), "doubled": len(doubled)}


def holds(result: dict[str, Any]) -> bool:
    """Whether every figure keeps to its bar."""
    one = result["runs"][0]
    kept = result["lost"] == result["doubled"] == 0
    return bool(
        kept
        and one["events_per_s"] >= LEAST_OF_EACH_CONFIRMED * one["limit_events_per_s"]
        and one["events_per_s"] >= LEAST_OF_BATCHES * one["limit_batches_events_per_s"]
        and all(each["p95_ms"] <= MOST_P95_MS for each in result["runs"])
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.events")
    parser.add_argument("--burst", type=int, default=sized(200, 4000), help="events of the rate")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second of the delay")
    parser.add_argument("--seconds", type=float, default=sized(2.0, 20.0), help="length of the delay's measurement")
    options = parser.parse_args()
    found = run(options.burst, options.rate, options.seconds)
    best = max(found["runs"], key=lambda figures: figures["events_per_s"])
    result = {
        **{name: best[name] for name in ("events_per_s", "p50_ms", "p95_ms", "relays")},
        **found,
        "burst": options.burst,
        "batch": BATCH,
    }
    for title, rows in tables(result):
        table(title, rows)
    save("bench", "events", result, bar=BAR, holds=holds(result))


if __name__ == "__main__":
    main()
