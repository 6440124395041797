"""The web clients' process as it is served, for tests without a browser: gunicorn with gevent, on loopback."""

import subprocess
from pathlib import Path

from infra.gateway.description import Address
from infra.local.postgres import free_port
from infra.local.services import WEB
from tests.local_world import bare
from tests.processes import is_ready
from tests.waiting import wait_for


class WebProcess:
    """One of them. `api_url`: of the domains, {domain} standing for their names. More settings by their names."""

    def __init__(self, folder: Path, api_url: str, **settings: str) -> None:
        self.port = free_port()
        self.url, self.address = f"http://127.0.0.1:{self.port}", Address("127.0.0.1", self.port)
        self.log = folder / f"web-{self.port}.log"
        self._settings = {
            **bare(),
            "SMARTFIT_ENVIRONMENT": "test",
            "SMARTFIT_WEB_API_URL": api_url,
            "SMARTFIT_API_PORT": str(self.port),
            "SMARTFIT_API_WORKER": "gevent",
            "SMARTFIT_API_SERVICE": "smartfit-web",
            "SMARTFIT_API_GRACEFUL_S": "5",
            **settings,
        }
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(WEB, env=self._settings, stdout=output, stderr=output)
        return self.process

    def is_ready(self) -> bool:
        return is_ready(self.process, self.url, self.log)

    def ready(self) -> "WebProcess":
        wait_for(self.is_ready, 60, str(self.log))
        return self

    def stop(self) -> None:
        """As a supervisor does; it must end by itself."""
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()[-3000:]

    def close(self) -> None:
        """At the end of a test."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
