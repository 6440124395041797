"""A real redis-server for tests, that can be killed, hung and brought back on its port."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import redis

from infra.local.postgres import free_port
from tests.waiting import wait_for


class RedisServer:
    """Keeps nothing on disk: after a restart it is empty. Extra options as redis-server takes them."""

    def __init__(self, folder: Path, *options: str, url: str = "redis://127.0.0.1:{port}/0") -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.url = url.format(port=self.port)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--dir", str(self.folder), *self.options], stdout=log, stderr=log
            )
        wait_for(self.listens, what="redis-server")

    def listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """As kill -9 does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """It takes connections, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.go_on()
            self.kill()


def installed() -> None:
    """Skips where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server (apt install redis-server)")
