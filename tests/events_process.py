"""`python -m tests.events_process relay|consumer LOG`: the product's worker over RabbitMQ as a process of its own, to be
measured and killed.

The one handler writes a row that nothing keeps from being there twice, so that effects can be counted. Each effect is
told to LOG (`<event id> <seconds since 1970>`) once its transaction is committed, and now and then how many events have
come again (`repeated <n>`). SIGTERM stops it in order. EVENTS_PROCESS_HANDLERS names a module whose handlers are there as well,
EVENTS_PROCESS_ATTEMPTS how often an event is tried before it is a dead letter (fewer than the product's, to be waited for).
"""

import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.orm import Session

from platform_api.core.database import on_commit
from platform_api.core.events import Event, inbox, subscribe
from platform_api.core.events.bus.rabbitmq import RabbitBus
from platform_api.core.events.registry import all_subscribers
from platform_api.core.events.worker import Worker
from platform_api.core.telemetry import configure_logging
from tests.events_world import EFFECT, PRODUCER, SUBSCRIBER, TYPE


def main() -> None:
    """Run until SIGTERM."""
    role, place = sys.argv[1], Path(sys.argv[2])
    configure_logging(f"events-{role}", "WARNING")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with place.open("a", buffering=1) as log:

        @subscribe(SUBSCRIBER, TYPE)
        def effect(session: Session, event: Event) -> None:
            session.execute(text(f"INSERT INTO {EFFECT} (event_id) VALUES (:id)"), {"id": event.id})
            on_commit(session, lambda: log.write(f"{event.id} {time.time()}\n"))

        if "EVENTS_PROCESS_HANDLERS" in os.environ:
            importlib.import_module(os.environ["EVENTS_PROCESS_HANDLERS"])
        inbox.DELIVERY_LIMIT = int(os.environ.get("EVENTS_PROCESS_ATTEMPTS", inbox.DELIVERY_LIMIT))
        bus = RabbitBus(os.environ["SMARTFIT_RABBITMQ_URL"], all_subscribers())
        worker = Worker([PRODUCER if role == "relay" else SUBSCRIBER], bus)
        worker.start()
        log.write("ready 0\n")
        before = 0.0
        while not stop.wait(0.2):
            before = _tell_repeated(log, before)
        worker.stop()
        _tell_repeated(log, before)


def _tell_repeated(log: TextIO, before: float) -> float:
    labels = {"subscriber": SUBSCRIBER, "type": TYPE, "outcome": "repeated"}
    now = REGISTRY.get_sample_value("smartfit_events_handled_total", labels) or 0.0
    if now != before:
        log.write(f"repeated {now:.0f}\n")
    return now


if __name__ == "__main__":
    main()
