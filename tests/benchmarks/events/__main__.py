"""`python -m tests.benchmarks.events`: events from outbox to effect through a real RabbitMQ, with one relay and with four.

PostgreSQL (fsync on), a RabbitMQ node with quorum queues and publisher confirms, the product's relays and consumers in
processes of their own, and as many consumers as relays. Two measurements of each:

- rate: BURST events become visible in the outbox by one commit, with everything running and idle. Events a second, until
  the last is marked sent (relayed) and until the last effect is committed (events_per_s).
- delay: events committed one by one at a steady RATE a second, well below saturation; from the moment the producer asks
  for the commit to the moment its effect is committed in the subscriber's database.

Beside it the limit in the same run: bare pika with confirms and acknowledgements, messages of the same size, the same
number of processes, no database. How busy the machine was with other things (percent of all cores, for two seconds
before each) stands beside the figures. JSON in build/bench/events.json.
"""

import argparse
import json
import os
import platform
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from infra.local.rabbitmq import RabbitNode
from platform_api.core.database import unit_of_work
from platform_api.core.events import Event, publish
from platform_api.core.models import OutboxEvent
from tests.benchmarks.events import limit
from tests.events_world import PRODUCER, TYPE, Line, entry, send, standing
from tests.waiting import wait_for

RELAYS = (1, 4)
SETTLE_S = 1.5


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


def steady(line: Line, rate: float, seconds: float) -> dict[str, float]:
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
    delays = [(committed[event_id] - at) * 1000 for event_id, at in asked.items()]
    percentiles = statistics.quantiles(delays, n=100, method="inclusive")
    return {
        "rate_per_s": round(len(asked) / took, 1),
        "p50_ms": round(percentiles[49], 1),
        "p95_ms": round(percentiles[94], 1),
        "p99_ms": round(percentiles[98], 1),
        "max_ms": round(max(delays), 1),
    }


def run(number: int, rate: float, seconds: float) -> list[dict[str, Any]]:
    """All measurements, one dictionary for each number of relays."""
    size = len(json.dumps(Event.new(TYPE, str(uuid.uuid4()), 1, entry()).to_json(), ensure_ascii=False).encode())
    results = []
    with standing(lambda folder: [RabbitNode(folder)]) as line:
        for relays in RELAYS:
            busy = psutil.cpu_percent(2.0)  # by others: nothing of ours works now
            bare = limit.measure(line.nodes[0].url, relays, relays, number, size)
            line.start("consumer", relays)
            line.start("relay", relays)
            burst(line, 200)  # connections, plans and caches warm
            figures = {"relays": relays, "consumers": relays, "message_bytes": size, **burst(line, number)}
            time.sleep(SETTLE_S)
            figures |= steady(line, rate, seconds)
            figures["busy_before_percent"] = busy
            figures |= {f"limit_{name}": value for name, value in bare.items()}
            line.stop()
            results.append(figures)
    return results


def main() -> None:
    """Run, print a table, leave JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.events")
    parser.add_argument("--burst", type=int, default=2000, help="events of the rate")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second of the delay")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the delay's measurement")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    results = run(options.burst, options.rate, options.seconds)
    columns = {
        "relays": "relays",
        "relayed_per_s": "relayed/s",
        "events_per_s": "events/s",
        "limit_published_per_s": "pika publ./s",
        "limit_events_per_s": "pika all/s",
        "rate_per_s": "steady/s",
        "p50_ms": "p50 ms",
        "p95_ms": "p95 ms",
        "p99_ms": "p99 ms",
        "busy_before_percent": "others %",
    }
    print("".join(f"{heading:>13}" for heading in columns.values()))
    for figures in results:
        print("".join(f"{figures[name]:>13}" for name in columns))
    best = max(results, key=lambda figures: figures["events_per_s"])
    report = {
        **{name: best[name] for name in ("events_per_s", "p50_ms", "p95_ms", "relays", "limit_events_per_s")},
        "runs": results,
        "burst": options.burst,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load_before": round(load, 1)},
    }
    target = Path("build/bench/events.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(
        f"{best['events_per_s']:.0f} events/s with {best['relays']} relay(s), bare pika {best['limit_events_per_s']:.0f}/s;"
        f" commit to effect P95 {best['p95_ms']} ms at {best['rate_per_s']:.0f} events/s -> {target}"
    )


if __name__ == "__main__":
    main()
