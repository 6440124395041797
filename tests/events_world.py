"""Events on their way from one domain to another, for tests and the benchmark: PostgreSQL, RabbitMQ nodes, relays and
consumers, each a process of its own that can be killed.

What travels is `access.AccessGranted` from access to search, the event there are most of. Search gets a table that
holds one row for each effect and has no key, so a second effect of one event would be seen.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from infra.local.postgres import PostgresServer, bootstrap
from infra.local.rabbitmq import RabbitNode
from platform_api.core import clock
from platform_api.core.database import DOMAINS, configure, dispose_all, unit_of_work, variable
from platform_api.core.events import publish
from platform_api.core.events.bus.rabbitmq import dead_queue_name, parameters, queue_name
from platform_api.core.events.lanes import LANES
from platform_api.core.migrations import upgrade
from platform_api.core.models import InboxEvent, OutboxEvent, new_id
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
PRODUCER, SUBSCRIBER, TYPE, EFFECT = "access", "search", "access.AccessGranted", "effect_of_test"


def entry() -> dict[str, Any]:
    """Data of an entry, as a gate reports it."""
    return {
        "entry_id": str(uuid.uuid4()),
        "branch_id": "gangnam",
        "gate_id": "gangnam-in",
        "member_id": new_id(),
        "method": "face",
        "reason": "ok",
        "at": clock.now().isoformat(),
    }


def send(number: int) -> list[str]:
    """Publish events in one transaction. Returns their ids."""
    with unit_of_work(PRODUCER) as session:
        return [str(publish(session, TYPE, str(uuid.uuid4()), 1, entry()).id) for _ in range(number)]


class Producer(threading.Thread):
    """Commits events: `together` of them in one transaction, so that a relay has its hands full, the others one by one.

    Where the database is away it tries on with other events. `ids`: of those whose commit was answered; `refused`: of those
    whose was not, and which may be in the outbox or not.
    """

    def __init__(self, number: int, *, together: int = 0, pause_s: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.number, self.together, self.pause_s = number, together, pause_s
        self.ids: list[str] = []
        self.refused = 0
        self.begun = threading.Event()

    def run(self) -> None:
        """Until `number` are committed."""
        if self.together:
            self.ids += send(self.together)
        self.begun.set()
        while len(self.ids) < self.number:
            try:
                self.ids += send(1)
            except (DBAPIError, PoolTimeout):
                self.refused += 1
                time.sleep(0.1)
            time.sleep(self.pause_s)


@dataclass
class Process:
    """A relay or a consumer."""

    role: str
    log: Path
    popen: subprocess.Popen[bytes]

    def lines(self) -> list[tuple[str, str]]:
        """What it has told: (event id, seconds since 1970), and the words of `events_process`."""
        # A killed process may have left half a line.
        whole = self.log.read_text().rpartition("\n")[0].splitlines() if self.log.exists() else []
        return [(first, second) for first, _, second in (line.partition(" ") for line in whole)]


class Line:
    """Outbox, broker, inbox and the processes between them. `nodes`: of the broker, already started."""

    def __init__(
        self, folder: Path, server: PostgresServer, nodes: Sequence[RabbitNode], address: str | None = None
    ) -> None:
        self.folder = folder
        self.server = server
        self.nodes = nodes
        self.url = ",".join(node.url for node in nodes)
        self.processes: list[Process] = []
        self.ended: list[Process] = []
        urls = bootstrap(server.admin_url, dict.fromkeys(DOMAINS, secrets.token_urlsafe(12)))
        if address is not None:
            urls = {domain: url.replace(f"127.0.0.1:{server.port}", address) for domain, url in urls.items()}
        for domain in (PRODUCER, SUBSCRIBER):
            configure(domain, urls[domain])
            upgrade(domain, urls[domain])
        with unit_of_work(SUBSCRIBER) as session:
            session.execute(text(f"CREATE TABLE {EFFECT} (event_id uuid NOT NULL)"))
        self.environment = {
            **os.environ,
            **{variable(domain): urls[domain] for domain in (PRODUCER, SUBSCRIBER)},
            "SMARTFIT_RABBITMQ_URL": self.url,
        }

    def start(self, role: str, number: int = 1) -> list[Process]:
        """Start relays or consumers and wait until they have begun."""
        begun = []
        for _ in range(number):
            log = self.folder / f"{role}-{len(self.processes) + len(self.ended) + len(begun)}.log"
            command = [sys.executable, "-m", "tests.events_process", role, str(log)]
            with log.with_suffix(".err").open("wb") as errors:
                popen = subprocess.Popen(
                    command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
                )
            begun.append(Process(role, log, popen))
        self.processes += begun
        for process in begun:
            wait_for(lambda process=process: process.lines() or process.popen.poll() is not None, 90, f"{role} starts")
            assert process.popen.poll() is None, process.log.with_suffix(".err").read_text()
        return begun

    def kill(self, process: Process) -> None:
        """kill -9."""
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
        self.processes.remove(process)
        self.ended.append(process)

    def stop(self) -> None:
        """Stop the processes in order."""
        for process in self.processes:
            process.popen.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(20)
            process.popen.kill()
        self.ended += self.processes
        self.processes = []

    def committed(self) -> dict[str, float]:
        """When each effect was committed, by event id, as the consumers told it (seconds since 1970)."""
        told = [line for process in (*self.ended, *self.processes) for line in process.lines()]
        return {event_id: float(at) for event_id, at in told if len(event_id) == 36}

    def repeated(self) -> int:
        """Events that came again, as far as the consumers could tell before they were killed."""
        told = [dict(process.lines()).get("repeated", "0") for process in (*self.ended, *self.processes)]
        return sum(map(int, told))

    def effects(self) -> list[str]:
        """Ids of the events that had an effect, each as often as it had one."""
        with unit_of_work(SUBSCRIBER) as session:
            return [str(found) for found in session.scalars(text(f"SELECT event_id FROM {EFFECT}"))]

    def count(self) -> int:
        """Number of effects."""
        with unit_of_work(SUBSCRIBER) as session:
            return int(session.scalar(text(f"SELECT count(*) FROM {EFFECT}")))

    def outcome(self, sent: Iterable[str]) -> dict[str, int]:
        """What became of events: of those `sent`, which all had to have an effect, and of any other that had one.

        Returns:
            lost: sent and without an effect; doubled: with more than one; unasked: an effect of what is in no outbox.
        """
        effects = Counter(self.effects())
        with unit_of_work(PRODUCER) as session:
            known = {str(found) for found in session.scalars(select(OutboxEvent.event_id))}
        return {
            "lost": len((set(sent) | known) - effects.keys()),
            "doubled": sum(count > 1 for count in effects.values()),
            "unasked": len(effects.keys() - known - set(sent)),
        }

    def settle(self, quiet_s: float) -> None:
        """Wait until every event in the outbox has had its effect, or nothing has happened for so long that the others are lost."""
        before, since = None, time.monotonic()
        while True:
            with unit_of_work(PRODUCER) as session:
                known = session.scalar(select(func.count()).select_from(OutboxEvent))
            now = (self.unsent(), len(set(self.effects())))
            if now == (0, known):
                return
            if now != before:
                before, since = now, time.monotonic()
            if time.monotonic() - since > quiet_s:
                return
            time.sleep(0.25)

    def unsent(self) -> int:
        """Events in the outbox that are not marked sent."""
        with unit_of_work(PRODUCER) as session:
            query = select(func.count()).select_from(OutboxEvent).where(OutboxEvent.sent_at.is_(None))
            return int(session.scalar(query) or 0)

    def unhandled(self) -> int:
        """Events in the inbox that have had no effect: pending, or dead letters."""
        with unit_of_work(SUBSCRIBER) as session:
            query = select(func.count()).select_from(InboxEvent).where(InboxEvent.status != "done")
            return int(session.scalar(query) or 0)

    def at_broker(self) -> int:
        """Messages in the subscriber's queues, the dead-letter queue included, that no consumer holds."""
        alive = ",".join(node.url for node in self.nodes if node._process is not None)
        with pika.BlockingConnection(parameters(alive)) as connection:
            channel = connection.channel()
            names = [*(queue_name(SUBSCRIBER, lane) for lane in LANES), dead_queue_name(SUBSCRIBER)]
            return sum(channel.queue_declare(name, passive=True).method.message_count for name in names)


@contextlib.contextmanager
def standing(
    nodes_in: Callable[[Path], Sequence[RabbitNode]], behind: Callable[[int], str] | None = None
) -> Iterator[Line]:
    """A line whose broker (its nodes made in the folder given) and database serve; relays and consumers are yet to start.

    Args:
        behind: gives the address by which the database at that port is reached.
    """
    # Not below pytest's own folder, which each start of pytest closes to other users; the server may run as one.
    with tempfile.TemporaryDirectory(prefix="smartfit-events-") as name:
        folder = Path(name)
        nodes = nodes_in(folder / "rabbitmq")
        server = PostgresServer(folder / "postgres" / "data")
        line = None
        for node in nodes:
            node.start()
        try:
            server.start()
            for node in nodes:
                node.wait()
            line = Line(folder, server, nodes, behind(server.port) if behind is not None else None)
            yield line
        finally:
            if line is not None:
                line.stop()
            dispose_all()
            server.stop()
            for node in nodes:
                node.kill()
            nodes[0].stop()  # nothing but the port mapper is left
