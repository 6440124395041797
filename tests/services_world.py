"""What tests share of services outside the platform: a sandbox as a process of its own, and the ways it can be damaged."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from tests.processes import is_ready
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
KEY = "sandbox-key"
FOR_EVER = {"fail_next": 1_000_000}
HANG_S = 20.0
DAMAGE: dict[str, dict[str, Any]] = {
    # The service is a process that is not there: nothing listens.
    "refused": {},
    "hang": {**FOR_EVER, "latency_ms": int(HANG_S * 1000), "drop": True},
    "cut": {**FOR_EVER, "drop": True},
    "status_500": {**FOR_EVER, "status": 500},
    **{
        kind: {**FOR_EVER, "answer": kind}
        for kind in ("drip", "html", "truncated", "wrong_types", "odd", "deep", "huge", "redirect")
    },
}
"""Faults that a sandbox is told, by name."""


class Sandbox:
    """One of them, by its control routes. `folder` holds its certificates and key; it may stop and start again."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.name = name
        certificate = server(folder, "sandbox")
        (folder / "api_key").write_text(KEY)
        files = ["--cert", str(certificate.chain), "--key", str(certificate.key)]
        self._command = [sys.executable, "-m", f"infra.sandboxes.{name}", "--port", str(self.port), *files]
        self._command += ["--api-key-file", str(folder / "api_key"), *options]
        self.ca_file = str(authority(folder).chain)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.ca_file
        self.session.headers["Authorization"] = f"Bearer {KEY}"
        self.start()

    def start(self) -> None:
        """Start it (again); `wait` waits for it."""
        self.process = subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, f"{self.name} did not start"
            try:
                return self.session.get(f"{self.url}/healthz", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        wait_for(answers, 60, self.name)

    def faults(self, **faults: Any) -> None:
        """See infra.sandboxes.faults."""
        assert self.session.post(f"{self.url}/sandbox/faults", json=faults, timeout=5).status_code == 200

    def damage(self, kind: str) -> None:
        """One of DAMAGE."""
        if kind == "refused":
            self.kill()
        else:
            self.faults(**DAMAGE[kind])

    def mend(self) -> None:
        """Undo it; it remembers nothing where it was away."""
        if self.process.poll() is not None:
            self.start()
            self.wait()
        self.faults()

    def control(self, method: str, path: str, **options: Any) -> requests.Response:
        """A route below /sandbox/."""
        answer = self.session.request(method, f"{self.url}/sandbox/{path}", timeout=5, **options)
        assert answer.status_code < 300, answer.text
        return answer

    def taken(self, **query: Any) -> list[dict[str, Any]]:
        """What it took, oldest first."""
        found: list[dict[str, Any]] = self.control("GET", "messages", params=query).json()["messages"]
        return found

    def kill(self) -> None:
        """At once, with the process that serves: what it remembers is gone."""
        arbiter = psutil.Process(self.process.pid)
        # The arbiter first: it would put another in the place of a child that is gone.
        family = [arbiter, *arbiter.children(recursive=True)]
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait(10)
        psutil.wait_procs(family, 10)

    def stop(self) -> None:
        """As a supervisor does; wait for `process`."""
        self.session.close()
        self.process.terminate()


class ApiProcess:
    """Domains as gunicorn serves them, with its settings as they come but for what `settings` says."""

    def __init__(self, folder: Path, domains: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"api-{domains.replace(',', '-')}.log"
        command = ["-m", "gunicorn", "-c", "python:platform_api.gunicorn_conf", "platform_api.app:create_app()"]
        chosen = {
            **os.environ,
            "SMARTFIT_ENVIRONMENT": "test",
            "SMARTFIT_LOG_LEVEL": "WARNING",
            "SMARTFIT_DOMAINS": domains,
            "SMARTFIT_API_PORT": str(self.port),
            "SMARTFIT_ADDRESS_REQUESTS_PER_MINUTE": "0",
            "SMARTFIT_ACCOUNT_REQUESTS_PER_MINUTE": "0",
            **settings,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], env=chosen, cwd=ROOT, stdout=output, stderr=output
            )
        wait_for(lambda: is_ready(self.process, self.url, self.log), 120, str(self.log))

    def metrics(self, name: str) -> float:
        """A metric, by its name with labels."""
        lines = requests.get(f"{self.url}/metrics", timeout=10).text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def stop(self) -> None:
        """As a supervisor does."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Pace(threading.Thread):
    """Asks one thing after another until `stop`; `seconds` of those that were answered well, `failed` of the others."""

    def __init__(self, ask: Callable[[requests.Session], requests.Response], pause_s: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.failed: Counter[str] = Counter()
        self._ask, self._pause_s, self._stopping = ask, pause_s, threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._stopping.is_set():
                begun = time.monotonic()
                try:
                    answer = self._ask(session)
                    outcome = "" if answer.ok else str(answer.status_code)
                except requests.RequestException as error:
                    outcome = type(error).__name__
                if outcome:
                    self.failed[outcome] += 1
                else:
                    self.seconds.append(time.monotonic() - begun)
                self._stopping.wait(self._pause_s)

    def stop(self) -> dict[str, Any]:
        """How many, how long."""
        self._stopping.set()
        self.join(60)
        ordered = sorted(self.seconds) or [float("inf")]
        return {
            "asked": len(self.seconds) + self.failed.total(),
            "failed": dict(self.failed),
            "p50_ms": round(ordered[len(ordered) // 2] * 1000, 1),
            "p95_ms": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] * 1000, 1),
            "max_ms": round(ordered[-1] * 1000, 1),
        }


def during(ask: Callable[[requests.Session], requests.Response], seconds: float) -> dict[str, Any]:
    """How something is answered for so long."""
    pace = Pace(ask)
    pace.start()
    time.sleep(seconds)
    return pace.stop()
