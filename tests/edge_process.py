"""A gate node as it runs: gunicorn with TLS, in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import requests

from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from tests.edge_world import ROOT, Kiosk, World, wait_for


class NodeProcess:
    """The node of a world, not yet started."""

    def __init__(self, world: World) -> None:
        certificate = server(world.folder, "edge-tls")
        self.port = free_port()
        self.kiosk = Kiosk(f"https://127.0.0.1:{self.port}", verify=str(authority(world.folder).chain))
        self.environment = {
            **os.environ,
            **world.environment,
            "SMARTFIT_EDGE_PORT": str(self.port),
            "SMARTFIT_EDGE_TLS_CERT_FILE": str(certificate.chain),
            "SMARTFIT_EDGE_TLS_KEY_FILE": str(certificate.key),
        }
        self.log = (world.folder / "node.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 120, *, ready: bool = True) -> None:
        """Start it and wait until it is ready, or (ready False) go on at once."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "access_edge/gunicorn_conf.py", "access_edge.app:create_app()"],
            cwd=ROOT,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

        def is_ready() -> bool:
            with suppress(requests.RequestException):
                return self.kiosk.http.get(f"{self.kiosk.url}/readyz", timeout=2).ok
            return False

        if ready:
            wait_for(is_ready, seconds)

    def end(self, how: signal.Signals) -> None:
        """End the whole group, master and worker at once."""
        assert self.process is not None
        if how == signal.SIGKILL:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.send_signal(how)
        self.process.wait(20)

    def stop(self) -> None:
        """End it, if it runs, and close its log."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.log.close()
