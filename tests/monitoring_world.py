"""The monitoring domain as it runs, for tests and the benchmark: simulated equipment, heartbeat server and probers, each
a process of its own, on a real PostgreSQL."""

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select, text

from infra.local.certificates import Certificate, authority, server
from infra.local.postgres import free_port
from platform_api.core.database import database, unit_of_work
from platform_api.core.models import OutboxEvent
from platform_api.core.security import Principal
from platform_api.monitoring import lines, registry
from platform_api.monitoring.models import Branch, Equipment, EquipmentState, Fault
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
OPERATOR = Principal("operator-1", frozenset({"operator"}))
KEY = "equipment-sandbox-key"
LOOPBACK = "127.0.0.0/8"
QUICK = {
    "SMARTFIT_ECHO_INTERVAL_S": "1",
    "SMARTFIT_ECHO_TIMEOUT_S": "0.5",
    "SMARTFIT_ECHO_REPROBE_S": "0.2",
    "SMARTFIT_PROBER_TICK_S": "0.2",
    "SMARTFIT_RECOVERED_PROBATION_S": "1",
    "SMARTFIT_ECHO_COMMISSIONING_S": "0",
    "SMARTFIT_HEARTBEAT_GRACE_S": "1",
    "SMARTFIT_FLAP_WINDOW_S": "0",
}
"""Settings under which minutes become seconds."""


@dataclass
class Made:
    """An item in the registry, and its private key (base64)."""

    equipment_id: str
    private_key: str


def branch(branch_id: str = "gangnam", status: str = "open") -> str:
    """A branch, as if heard of."""
    with unit_of_work("monitoring") as session:
        if session.get(Branch, branch_id) is None:
            session.add(Branch(branch_id=branch_id, name=branch_id, timezone="Asia/Seoul", status=status, version=1))
    return branch_id


def register(number: int, echo_base: str | None, branch_id: str = "gangnam", interval_s: int = 600) -> list[Made]:
    """Items of a branch with keys; `echo_base`: URL of the sandbox."""
    made = []
    with unit_of_work("monitoring") as session:
        have = len(session.scalars(select(Equipment.equipment_id).where(Equipment.branch_id == branch_id)).all())
        for index in range(have, have + number):
            fields = {
                "branch_id": branch_id,
                "name": f"treadmill {index}",
                "kind": "treadmill",
                "severity": "major",
                "echo_url": None,
                "heartbeat_interval_s": interval_s,
            }
            equipment, _ = registry.register(session, OPERATOR, fields)
            if echo_base is not None:
                equipment.echo_url = f"{echo_base}/devices/{equipment.equipment_id}/echo"
            _, private = registry.issue_key(session, OPERATOR, equipment.equipment_id, None)
            assert private is not None
            made.append(Made(equipment.equipment_id, private))
    return made


def events(name: str | None = None) -> list[dict[str, Any]]:
    """Data of the events in the outbox, oldest first."""
    with unit_of_work("monitoring") as session:
        rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.position)).all()
    return [row.envelope["data"] for row in rows if name is None or row.type == f"monitoring.{name}"]


def faults_of(equipment_id: str) -> list[Fault]:
    """Faults of an item, oldest first."""
    with unit_of_work("monitoring") as session:
        wanted = select(Fault).where(Fault.equipment_id == equipment_id).order_by(Fault.fault_id)
        return list(session.scalars(wanted))


def state_of(equipment_id: str) -> EquipmentState:
    """The state of an item."""
    with unit_of_work("monitoring") as session:
        return session.get_one(EquipmentState, equipment_id)


class Plant:
    """The processes. `database_url`: of the monitoring domain; `settings`: on top of those needed."""

    def __init__(self, folder: Path, database_url: str, **settings: str) -> None:
        self.folder = folder
        self.certificate: Certificate = server(folder, "monitoring")
        self.ca = authority(folder).chain
        (folder / "api_key").write_text(KEY)
        self.heartbeat_port, self.sandbox_port = free_port(), free_port()
        self.environment = {
            **os.environ,
            "SMARTFIT_ENVIRONMENT": "test",
            "SMARTFIT_LOG_LEVEL": "WARNING",
            "SMARTFIT_MONITORING_DATABASE_URL": database_url,
            "SMARTFIT_ECHO_NETWORKS": LOOPBACK,
            "SMARTFIT_ECHO_CA_FILE": str(self.ca),
            "SMARTFIT_HEARTBEAT_PORT": str(self.heartbeat_port),
            "SMARTFIT_HEARTBEAT_TLS_CERT_FILE": str(self.certificate.chain),
            "SMARTFIT_HEARTBEAT_TLS_KEY_FILE": str(self.certificate.key),
            **settings,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.starting: list[tuple[subprocess.Popen[bytes], str, Path]] = []
        self.ports: dict[subprocess.Popen[bytes], int] = {}
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(self.ca)
        self.session.headers["Authorization"] = f"Bearer {KEY}"

    @property
    def echo_base(self) -> str:
        """URL of the sandbox."""
        return f"https://127.0.0.1:{self.sandbox_port}"

    def start(self, *command: str, ready: str, wait: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process and wait until `ready`, a URL, answers 200 (or let `all_ready` wait)."""
        log = (self.folder / f"{command[0].rsplit('.', 1)[-1]}.log").open("ab")
        whole = {**self.environment, **environment}
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=whole, stdout=log, stderr=log)
        self.processes.append(process)

        self.starting.append((process, ready, Path(log.name)))
        if wait:
            self.all_ready()
        return process

    def all_ready(self) -> None:
        """Wait until all that were started answer."""

        def answers() -> bool:
            process, ready, log = self.starting[0]
            assert process.poll() is None, log.read_text()
            try:
                return self.session.get(ready, timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        while self.starting:
            wait_for(answers, 60)
            self.starting.pop(0)

    def start_sandbox(self, *, heartbeats: bool = True, wait: bool = True) -> subprocess.Popen[bytes]:
        """The simulated equipment."""
        certificate = ["--cert", str(self.certificate.chain), "--key", str(self.certificate.key)]
        places = ["--port", str(self.sandbox_port), "--api-key-file", str(self.folder / "api_key")]
        if heartbeats:
            places += ["--heartbeat", f"127.0.0.1:{self.heartbeat_port}", "--heartbeat-ca", str(self.ca)]
        return self.start(
            "infra.sandboxes.equipment", *places, *certificate, ready=f"{self.echo_base}/healthz", wait=wait
        )

    def start_heartbeat(self, *, wait: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """The heartbeat server."""
        port = free_port()
        process = self.start(
            "platform_api.monitoring.heartbeat",
            wait=wait,
            ready=f"http://127.0.0.1:{port}/readyz",
            SMARTFIT_HEARTBEAT_HEALTH_PORT=str(port),
            **environment,
        )
        self.ports[process] = port
        return process

    def start_prober(self, *, wait: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """A worker of the prober."""
        port = free_port()
        process = self.start(
            "platform_api.monitoring.prober",
            wait=wait,
            ready=f"http://127.0.0.1:{port}/readyz",
            SMARTFIT_PROBER_HEALTH_PORT=str(port),
            **environment,
        )
        self.ports[process] = port
        return process

    def simulate(self, made: list[Made], heartbeat_s: float = 600.0) -> None:
        """Let the sandbox be these items."""
        devices = [
            {"equipment_id": item.equipment_id, "private_key": item.private_key, "heartbeat_s": heartbeat_s}
            for item in made
        ]
        self._post("/sandbox/devices", {"devices": devices})

    def damage(self, kind: str | None, *equipment_ids: str, severity: str = "major") -> datetime:
        """Break items, or mend them. Returns when."""
        begun = datetime.now(UTC)
        self._post("/sandbox/faults", {"devices": list(equipment_ids), "kind": kind, "severity": severity})
        return begun

    def lose(self, share: float) -> None:
        """Let this share of echoes be lost."""
        self._post("/sandbox/faults", {"loss": share})

    def counts(self) -> dict[str, int]:
        """What the sandbox has counted."""
        answer = self.session.get(f"{self.echo_base}/sandbox/devices", timeout=30).json()
        return dict(answer["counts"])

    def metrics(self, process: subprocess.Popen[bytes]) -> dict[str, float]:
        """Metrics of a heartbeat server or a prober, by name and labels."""
        lines = self.session.get(f"http://127.0.0.1:{self.ports[process]}/metrics", timeout=5).text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """End these, or all."""
        ending = list(processes or self.processes)
        for process in ending:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in ending:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
            self.processes.remove(process)

    def log(self, name: str) -> str:
        """What a kind of process has written."""
        return (self.folder / f"{name}.log").read_text()

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self.session.post(f"{self.echo_base}{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text


def empty() -> None:
    """Remove all equipment and events of the domain (the audit trail stays)."""
    names = (
        "outbox", "inbox", "idempotency_key", "watch", "model_change", "maintenance_window", "state_change", "fault",
        "equipment_state", "equipment", "branch",
    )  # fmt: skip
    with database("monitoring").begin() as connection:
        connection.execute(text(";".join(f"DELETE FROM {name}" for name in names)))


class Connection:
    """A device's connection."""

    def __init__(self, site: Plant, source: str = "127.0.0.1") -> None:
        plain = socket.create_connection(("127.0.0.1", site.heartbeat_port), 10, (source, 0))
        self.tls = ssl.create_default_context(cafile=str(site.ca)).wrap_socket(plain, server_hostname="127.0.0.1")
        self.answers = self.tls.makefile("rb")

    def send(self, raw: bytes) -> dict[str, Any]:
        self.tls.sendall(raw)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        return dict(json.loads(self.answers.readline()))

    def cut_within(self, seconds: float) -> float:
        """Seconds until the server ends the connection."""
        begun = time.monotonic()
        self.tls.settimeout(seconds)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self.answers.readline():
                pass
        return time.monotonic() - begun


def line(item: Made, seq: int, **change: Any) -> bytes:
    said = {"seq": seq, "at": datetime.now(UTC).isoformat(), "status": "ok", **change}
    return lines.sign(item.equipment_id, base64.b64decode(item.private_key), said)
