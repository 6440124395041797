"""`python -m tests.load_process`: requests over connections that stay open, as many or as often as told; for benchmarks of HTTP.

A process of its own, told what to do as JSON on standard input (`Plan`) and telling what came of it on standard output (`Outcome`). It
speaks HTTP/1.1 by itself (RFC 9112: answers of a known length), because on few cores the client's cost is part of what is
measured: its seconds of processor time are told beside the times. Where it may, it runs ahead of whom it measures (SCHED_RR), so
that what it finds is how long the server took, and not how long it waited itself to hear of it.

Closed loop (no `rates`): each connection sends its next request when it has its answer; tells how much a server can do. Open loop:
requests come when they come (Poisson, so many a second) whatever became of those before, as people do; what a caller waited is
then told from the moment the request was due, so that a server that stands still is not asked less (coordinated omission).
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import random
import re
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
NO_ANSWER, TIMED_OUT = 0, -1
"""Instead of a status: the connection broke, or could not be made; nothing came within `timeout_s`."""


@dataclass
class Shot:
    """One request. In its text `{key}` stands for a new Idempotency-Key, `{refresh_token}` for what an answer with `learns` said last."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    learns: bool = False

    def changes(self) -> bool:
        """Whether it is another each time."""
        return any(
            place in (self.body or "") + "".join(self.headers.values()) for place in ("{key}", "{refresh_token}")
        )

    def raw(self, host: str, said: dict[str, str]) -> bytes:
        """As it goes over the wire."""
        body = (self.body or "").replace("{refresh_token}", said.get("refresh_token", "")).encode()
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            f"Host: {host}",
            *(f"{k}: {v}" for k, v in self.headers.items()),
        ]
        if self.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).replace("{key}", str(uuid.uuid4())).encode() + body


@dataclass
class Caller:
    """Who has a connection, and what they ask for, in turn. `said`: what they know (`refresh_token`)."""

    shots: list[Shot]
    said: dict[str, str] = field(default_factory=dict)


@dataclass
class Plan:
    """Where to, how much. `callers`: one a connection. `ca`: of a server with TLS.

    `seconds` of a closed loop; or `rates`, (seconds, requests a second) one after the other: when all connections are busy, more are
    made, up to `most`, with the callers' requests again.
    """

    host: str
    port: int
    ca: str | None
    callers: list[Caller]
    seconds: float = 0.0
    rates: list[tuple[float, float]] = field(default_factory=list)
    most: int = 0
    timeout_s: float = 20.0
    seed: int = 1


@dataclass
class Outcome:
    """Columns of equal length, one request each: seconds since the begin when it was due, sent, and answered; its status.
    `processor_s`: of this client's cores, in `elapsed_s`. `ahead`: whether it ran ahead. `known`: what each caller knows at the end."""

    due: list[float]
    sent: list[float]
    done: list[float]
    status: list[int]
    processor_s: float
    elapsed_s: float
    ahead: bool
    known: list[dict[str, str]]


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._needed = -1
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.open = True

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        if self._answer and not self._answer.done():
            self._answer.set_result((NO_ANSWER, b""))

    def ask(self, raw: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send it; (status, body), or (NO_ANSWER, nothing)."""
        self._buffer.clear()
        self._needed = -1
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._needed < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self._buffer, 0, end)
            self._body = end + 4
            if length is None and self._buffer[9:12] not in (b"204", b"304"):
                raise ValueError(f"an answer of unknown length: {bytes(self._buffer[:end])!r}")
            self._needed = self._body + (int(length.group(1)) if length else 0)
        if len(self._buffer) >= self._needed and self._answer and not self._answer.done():
            status = int(self._buffer[9:12])
            if b"\r\nconnection: close" in self._buffer[: self._body].lower():
                self.open = False
                self.transport.close()
            self._answer.set_result((status, bytes(self._buffer[self._body : self._needed])))


class Client:
    """A caller with its connection, made when it is needed and again when it broke."""

    def __init__(self, load: Load, caller: Caller) -> None:
        self._load, self._caller = load, caller
        self._turn = 0
        self._connection: Connection | None = None
        plan = load.plan
        self._host = f"{plan.host}:{plan.port}"
        # What never changes is written once.
        self._raw = [None if shot.changes() else shot.raw(self._host, {}) for shot in caller.shots]

    async def connect(self) -> None:
        """Open the connection, if it is not.

        Raises:
            OSError: it cannot be made.
        """
        if self._connection is None or not self._connection.open:
            plan = self._load.plan
            _, self._connection = await asyncio.get_running_loop().create_connection(
                Connection, plan.host, plan.port, ssl=self._load.tls
            )

    async def ask(self, due: float | None = None) -> None:
        """The next of its requests; keeps what came of it."""
        number = self._turn % len(self._caller.shots)
        self._turn += 1
        shot = self._caller.shots[number]
        raw = self._raw[number] or shot.raw(self._host, self._caller.said)
        status, body, sent = NO_ANSWER, b"", None
        try:
            async with asyncio.timeout(self._load.plan.timeout_s):
                await self.connect()
                assert self._connection
                sent = self._load.now()
                status, body = await self._connection.ask(raw)
        except TimeoutError:
            status = TIMED_OUT
            self.close()
        except OSError:
            status = NO_ANSWER
        done = self._load.now()
        begun = done if sent is None else sent
        self._load.keep(begun if due is None else due, begun, done, status)
        if shot.learns and status == 200:
            self._caller.said["refresh_token"] = json.loads(body)["refresh_token"]

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.transport.abort()
            self._connection = None


class Load:
    """A plan under way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tls = ssl.create_default_context(cafile=plan.ca) if plan.ca else None
        self._rows: list[tuple[float, float, float, int]] = []
        self._zero = 0.0

    def now(self) -> float:
        """Seconds since the begin."""
        return time.perf_counter() - self._zero

    def keep(self, due: float, sent: float, done: float, status: int) -> None:
        """Note a request."""
        self._rows.append((due, sent, done, status))

    async def run(self) -> Outcome:
        """Do it."""
        ahead = _ahead()
        clients = [Client(self, caller) for caller in self.plan.callers]
        await asyncio.gather(*(client.connect() for client in clients))
        self._zero, processor = time.perf_counter(), time.process_time()
        if self.plan.rates:
            await self._open(clients)
        else:
            await asyncio.gather(*(self._closed(client) for client in clients))
        elapsed, processor = self.now(), time.process_time() - processor
        for client in clients:
            client.close()
        due, sent, done, status = (list(column) for column in zip(*self._rows, strict=True))
        known = [caller.said for caller in self.plan.callers]
        return Outcome(due, sent, done, status, processor, elapsed, ahead, known)  # type: ignore[arg-type]

    async def _closed(self, client: Client) -> None:
        while self.now() < self.plan.seconds:
            await client.ask()

    def _dues(self) -> Iterator[float]:
        """When requests come, in seconds since the begin."""
        chance, begin = random.Random(self.plan.seed), 0.0
        for seconds, rate in self.plan.rates:
            due = begin + chance.expovariate(rate)
            while due < begin + seconds:
                yield due
                due += chance.expovariate(rate)
            begin += seconds

    async def _open(self, clients: list[Client]) -> None:
        idle, waiting, under_way = list(clients), collections.deque[float](), set[asyncio.Task[None]]()

        async def serve(client: Client, due: float) -> None:
            await client.ask(due)
            # Who waited longest goes first; a connection that has just worked is used again before one that has slept.
            while waiting:
                await client.ask(waiting.popleft())
            idle.append(client)

        for due in self._dues():
            if (wait := due - self.now()) > 0:
                await asyncio.sleep(wait)
            if not idle and len(clients) < self.plan.most:
                like = self.plan.callers[len(clients) % len(self.plan.callers)]
                clients.append(Client(self, like))
                idle.append(clients[-1])
            if idle:
                task = asyncio.create_task(serve(idle.pop(), due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                waiting.append(due)
        while under_way:
            await asyncio.gather(*under_way)


def _ahead() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    return True


def planned(told: dict[str, Any]) -> Plan:
    """A plan out of its JSON."""
    callers = [Caller([Shot(**shot) for shot in each["shots"]], each["said"]) for each in told.pop("callers")]
    return Plan(callers=callers, **told)


def run(plan: Plan) -> Outcome:
    """In a process of its own. Takes up what the callers learned, so that the plan can go on."""
    command = [sys.executable, "-m", "tests.load_process"]
    limit = plan.seconds + sum(seconds for seconds, _ in plan.rates) + plan.timeout_s + 60
    done = subprocess.run(command, input=json.dumps(asdict(plan)), capture_output=True, text=True, timeout=limit)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    outcome = Outcome(**json.loads(done.stdout))
    for caller, known in zip(plan.callers, outcome.known, strict=True):
        caller.said.update(known)
    return outcome


def main() -> None:
    """As told on standard input."""
    plan = planned(json.load(sys.stdin))
    json.dump(asdict(asyncio.run(Load(plan).run())), sys.stdout)


if __name__ == "__main__":
    main()
