"""The REST APIs as gunicorn serves them in a container: nobody notices that one is replaced, and figures are whole."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from infra.gateway.description import Address, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from platform_api.core.database import variable
from tests.conftest import Keys, Postgres
from tests.gateway_world import gateway_before, start
from tests.local_world import bare
from tests.waiting import wait_for

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "python:platform_api.gunicorn_conf", "platform_api.app:create_app()"]
ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "Server"]


class Server:
    """One gunicorn with the branch domain."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{self.port}.log"
        environment = {**bare(), **settings, "SMARTFIT_API_PORT": str(self.port)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(COMMAND, env=environment, cwd=ROOT, stdout=output, stderr=output)

    def status(self, path: str = "/readyz") -> int:
        try:
            return requests.get(self.url + path, timeout=30).status_code
        except (requests.ConnectionError, requests.Timeout):
            return 0

    def ready(self) -> "Server":
        wait_for(lambda: self.status() == 200, 120, str(self.log))
        return self


@pytest.fixture
def serve(postgres: Postgres, keys: Keys, tmp_path: Path) -> Iterator[Start]:
    started: list[Server] = []

    def begin(**more: str) -> Server:
        settings = {
            "SMARTFIT_DOMAINS": "branch",
            variable("branch"): postgres.urls["branch"],
            "SMARTFIT_STORAGE_URL": f"file://{tmp_path}/objects",
            "SMARTFIT_KEYRING_FILE": str(keys.keyring_file),
            "SMARTFIT_JWKS_URL": "http://127.0.0.1:9/auth/v1/jwks.json",
            "SMARTFIT_ADDRESS_REQUESTS_PER_MINUTE": "0",
            **more,
        }
        started.append(Server(tmp_path, settings))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)


def test_no_request_fails_while_a_server_is_stopped_behind_the_gateway(serve: Start, tmp_path: Path) -> None:
    servers = [serve(SMARTFIT_DRAIN_SECONDS="15") for _ in range(2)]
    for server in servers:
        server.ready()
    addresses = tuple(Address("127.0.0.1", server.port) for server in servers)
    limits = Limits(general=Rate(100_000, 100_000))
    gateway = gateway_before(tmp_path, limits, auth=addresses[:1], branch=addresses, platform=addresses)
    envoy = start(gateway, tmp_path)
    url = f"https://127.0.0.1:{gateway.listen[0].port}/branch/v1/branches"
    answers: list[int | str] = []
    enough = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(authority(tmp_path).chain)
            while not enough.is_set():
                try:
                    answers.append(session.get(url, timeout=30).status_code)
                except requests.RequestException as error:
                    answers.append(repr(error))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    try:
        wait_for(lambda: requests.get(url, verify=str(authority(tmp_path).chain), timeout=30).ok)
        for asker in askers:
            asker.start()
        wait_for(lambda: len(answers) > 100)
        servers[0].process.send_signal(signal.SIGTERM)
        # It wants no more, and answers all the same.
        wait_for(lambda: servers[0].status() == 503)
        assert servers[0].status("/branch/v1/branches") == 200
        assert servers[0].process.wait(90) == 0
        seen = len(answers)
        wait_for(lambda: len(answers) > seen + 100)
    finally:
        enough.set()
        for asker in askers:
            asker.join(30)
        envoy.terminate()
        envoy.wait(10)
    assert set(answers) == {200}


def test_a_second_sigterm_ends_the_waiting(serve: Start) -> None:
    server = serve(SMARTFIT_DRAIN_SECONDS="600").ready()
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.status() == 503)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(90) == 0


def test_figures_are_of_all_processes_and_those_gone_hold_no_connections(serve: Start, tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "gauge_livesum_1.db").write_bytes(b"of a process that is long gone")
    server = serve(SMARTFIT_API_WORKERS="2", PROMETHEUS_MULTIPROC_DIR=str(figures)).ready()
    for _ in range(40):
        assert server.status("/branch/v1/branches") == 200

    def counted() -> float:
        lines = requests.get(f"{server.url}/metrics", timeout=30).text.splitlines()
        found = [line for line in lines if line.startswith("smartfit_http_requests_total") and "/branches" in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    # Whichever process answers, it tells of both.
    assert {counted() for _ in range(10)} == {40.0}
    pids = {file.stem.rsplit("_", 1)[1] for file in figures.glob("gauge_livesum_*.db")}
    victim = next(iter(pids))
    os.kill(int(victim), signal.SIGKILL)
    wait_for(lambda: not (figures / f"gauge_livesum_{victim}.db").exists())
    server.ready()
    assert counted() == 40.0


def test_several_processes_want_a_folder_for_their_figures(serve: Start) -> None:
    server = serve(SMARTFIT_API_WORKERS="2")
    assert server.process.wait(30) != 0
    assert "PROMETHEUS_MULTIPROC_DIR" in server.log.read_text()
