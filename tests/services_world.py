"""What tests share of services outside the platform: a sandbox as a process of its own, and the ways it can be damaged."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from infra.local.certificates import authority, server
from infra.local.postgres import free_port
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
        """At once: what it remembers is gone."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """As a supervisor does; wait for `process`."""
        self.session.close()
        self.process.terminate()
