"""Three processes of the platform: auth, and search twice; and a Redis that is killed and hung."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher

from infra.local.postgres import free_port
from platform_api.auth.models import Member
from platform_api.core.database import unit_of_work
from tests.redis_world import RedisServer, installed
from tests.waiting import wait_for

PER_MINUTE = 60
PASSWORD = "한강-자전거-도로-27"


@dataclass
class Process:
    """An API process."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def get(self, path: str, token: str | None = None, **query: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.get(self.url + path, headers=headers, params=query, timeout=20)

    def post(self, path: str, **body: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=20)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, 0 where there is none."""
        found = [row for row in self.get("/metrics").text.splitlines() if row.startswith(line)]
        return sum(float(row.rsplit(" ", 1)[1]) for row in found)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.get("/readyz").ok
        except requests.RequestException:
            return False


@dataclass
class Processes:
    """`auth` keeps the list of revoked tokens; `one` and `two` serve search and know it by HTTP."""

    auth: Process
    one: Process
    two: Process
    redis: RedisServer

    def member(self) -> tuple[str, str, str]:
        """Somebody new who has signed in: id, access token, refresh token."""
        email = f"{secrets.token_hex(6)}@example.com"
        with unit_of_work("auth") as session:
            member = Member(
                email=email, email_key=email, password_hash=PasswordHasher(1, 64, 1).hash(PASSWORD), name="김하늘",
                language="ko", roles=["customer"],
            )  # fmt: skip
            session.add(member)
        tokens = self.auth.post("/auth/v1/tokens", email=email, password=PASSWORD).json()
        return tokens["member_id"], tokens["access_token"], tokens["refresh_token"]


MINE = "/search/v1/members/me/preferences"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    installed()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def started(
    postgres: Any, keys: Any, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("processes")
    port = free_port()
    common = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SMARTFIT_JWT")},
        "SMARTFIT_ENVIRONMENT": "test",
        "SMARTFIT_REDIS_URL": redis_server.url,
        "SMARTFIT_ACCOUNT_REQUESTS_PER_MINUTE": str(PER_MINUTE),
        "SMARTFIT_SEARCH_INDEX_DIR": str(folder / "index"),
        "SMARTFIT_JWKS_URL": f"http://127.0.0.1:{port}/auth/v1/jwks.json",
    }
    of_auth = {
        "SMARTFIT_JWT_KEYS_DIR": str(keys.jwt_dir),
        "SMARTFIT_STORAGE_URL": (folder / "objects").as_uri(),
        "SMARTFIT_CARD_URL": "https://127.0.0.1:1",
        "SMARTFIT_CARD_API_KEY": "none",
        "SMARTFIT_ACCESS_INTERNAL_URL": "http://127.0.0.1:1",
        "SMARTFIT_ARGON2_MEMORY_KIB": "64",
        "SMARTFIT_ARGON2_TIME_COST": "1",
        "SMARTFIT_ARGON2_PARALLELISM": "1",
    }
    made: list[Process] = []

    def start(domain: str, port: int, **more: str) -> Process:
        log = folder / f"{port}.log"
        command = [
            sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", "--no-control-socket",
            "--bind", f"127.0.0.1:{port}", "platform_api.app:create_app()",
        ]  # fmt: skip
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env={**common, "SMARTFIT_DOMAINS": domain, **more}, stdout=output, stderr=output
            )
        made.append(Process(f"http://127.0.0.1:{port}", process, log))
        return made[-1]

    try:
        found = Processes(
            start("auth", port, **of_auth), start("search", free_port()), start("search", free_port()), redis_server
        )
        for process in made:
            wait_for(process.ready, 60, str(process.log))
        yield found
    finally:
        for process in made:
            process.process.terminate()
            process.process.wait(20)


@pytest.fixture
def processes(started: Processes) -> Iterator[Processes]:
    """With a Redis that answers, and processes that ask it; so again afterwards."""
    yield started
    if started.redis.process is not None and started.redis.process.poll() is not None:
        started.redis.start()
    started.redis.go_on()
    for process in (started.auth, started.one, started.two):
        wait_for(lambda process=process: asks_redis(process), what="Redis is asked again")


def asks_redis(process: Process, token: Callable[[], str] | None = None) -> bool:
    """Whether the process has Redis back."""
    before = process.metric('smartfit_cache_requests_total{cache="limits",outcome="done"}')
    process.get("/search/v1/branches", q="강남")
    return process.metric('smartfit_cache_requests_total{cache="limits",outcome="done"}') > before
