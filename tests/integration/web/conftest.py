"""The pages' process twice, over one Redis, before the real auth domain; and a browser as far as cookies go."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from argon2 import PasswordHasher

from infra.local.postgres import free_port
from infra.local.services import API
from platform_api.auth.models import Member
from platform_api.core.database import unit_of_work
from tests.redis_world import RedisServer, installed
from tests.waiting import wait_for
from tests.web_process import WebProcess

PASSWORD = "바닷가-등대-일곱-41"
ADDRESS_FAILURES = 3
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Browser:
    """Keeps and sends cookies by their paths, and says on forms where they come from."""

    url: str
    cookies: dict[str, Morsel[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self._open("GET", path, headers)

    def post(self, path: str, data: dict[str, str], **headers: str) -> requests.Response:
        return self._open("POST", path, {"Origin": self.url, **headers}, data=data)

    def log_in(
        self, email: str, password: str = PASSWORD, path: str = "/app/login", **headers: str
    ) -> requests.Response:
        return self.post(path, {"email": email, "password": password}, **headers)

    def forget_access(self) -> None:
        """A quarter of an hour later: the browser has dropped the token that ended."""
        self.cookies.pop("__Secure-smartfit-access", None)

    def value(self, name: str) -> str:
        return self.cookies[name].value

    def _open(self, method: str, path: str, headers: dict[str, str], **options: Any) -> requests.Response:
        asked = urlsplit(path).path
        sent = [f"{name}={each.value}" for name, each in self.cookies.items() if asked.startswith(each["path"])]
        said = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if sent:
            said["Cookie"] = "; ".join(sent)
        answer = requests.request(method, self.url + path, headers=said, timeout=30, allow_redirects=False, **options)
        self.cookies |= cookies(answer)
        for name in [name for name, each in self.cookies.items() if not each.value]:
            del self.cookies[name]
        return answer


def cookies(answer: requests.Response) -> dict[str, Morsel[str]]:
    """What an answer sets."""
    jar: SimpleCookie = SimpleCookie()
    for line in answer.raw.headers.getlist("Set-Cookie"):
        jar.load(line)
    return dict(jar)


@dataclass
class World:
    """`one` and `two` share a Redis; `cut_off` knows no domain."""

    auth_url: str
    one: WebProcess
    two: WebProcess
    cut_off: WebProcess
    redis: RedisServer

    def browser(self, web: WebProcess | None = None, **headers: str) -> Browser:
        return Browser(
            (web or self.one).url, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def member(self, *roles: str) -> str:
        """The e-mail of somebody new."""
        email = f"{secrets.token_hex(6)}@example.com"
        with unit_of_work("auth") as session:
            session.add(
                Member(
                    email=email, email_key=email, password_hash=PasswordHasher(1, 64, 1).hash(PASSWORD), name="김하늘",
                    language="ko", roles=list(roles or ["customer"]),
                )
            )  # fmt: skip
        return email

    def signed_in(self, *roles: str, web: WebProcess | None = None) -> Browser:
        browser = self.browser(web)
        answer = browser.log_in(self.member(*roles))
        assert answer.status_code == 303, answer.text
        return browser

    def exchanges(self) -> float:
        """How often auth was asked to exchange a refresh token."""
        lines = requests.get(f"{self.auth_url}/metrics", timeout=10).text.splitlines()
        counted = [
            line for line in lines if line.startswith("smartfit_http_requests_total") and "tokens/refresh" in line
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted)

    def exchange(self, token: str) -> requests.Response:
        return requests.post(f"{self.auth_url}/auth/v1/tokens/refresh", json={"refresh_token": token}, timeout=10)


@pytest.fixture(scope="session")
def started(postgres: Any, keys: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    installed()
    folder: Path = tmp_path_factory.mktemp("web")
    # Envoy says the machine's own address where somebody comes by loopback.
    own = {each.address for found in psutil.net_if_addrs().values() for each in found if each.family == socket.AF_INET}
    trusted = {"SMARTFIT_TRUSTED_PROXIES": ",".join(["127.0.0.0/8", *sorted(own)])}
    redis = RedisServer(folder)
    redis.start()
    port = free_port()
    settings = {
        **os.environ,
        **trusted,
        "SMARTFIT_ENVIRONMENT": "test",
        "SMARTFIT_DOMAINS": "auth",
        "SMARTFIT_API_PORT": str(port),
        "SMARTFIT_STORAGE_URL": (folder / "objects").as_uri(),
        "SMARTFIT_CARD_URL": "https://127.0.0.1:1",
        "SMARTFIT_CARD_API_KEY": "none",
        "SMARTFIT_ACCESS_INTERNAL_URL": "http://127.0.0.1:1",
        "SMARTFIT_ARGON2_MEMORY_KIB": "64",
        "SMARTFIT_ARGON2_TIME_COST": "1",
        "SMARTFIT_ARGON2_PARALLELISM": "1",
        "SMARTFIT_LOGIN_ADDRESS_FAILURES_FREE": str(ADDRESS_FAILURES),
    }
    with (folder / "auth.log").open("ab") as output:
        auth = subprocess.Popen(API, env=settings, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert auth.poll() is None, (folder / "auth.log").read_text()[-3000:]
        try:
            return requests.get(f"{url}/readyz", timeout=5).ok
        except requests.RequestException:
            return False

    webs = [WebProcess(folder, url, SMARTFIT_REDIS_URL=redis.url, **trusted) for _ in range(2)]
    webs.append(WebProcess(folder, NOWHERE))
    try:
        wait_for(ready, 90, "auth")
        for web in webs:
            web.ready()
        yield World(url, *webs, redis)
    finally:
        for web in webs:
            web.close()
        auth.terminate()
        auth.wait(20)
        redis.stop()


@pytest.fixture
def world(started: World) -> Iterator[World]:
    """With a Redis that answers; so again afterwards."""
    yield started
    if started.redis.process is not None and started.redis.process.poll() is not None:
        started.redis.start()
