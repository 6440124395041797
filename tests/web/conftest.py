"""One installation for all tests of the web clients.

While working on pages: with SMARTFIT_WEB_STATE naming the state of an installation that runs (`smartfit up --state ...`), it is used
as it is, and only the pages are served anew, from the files here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from playwright.sync_api import sync_playwright

from infra.local import environment
from infra.local.postgres import free_port
from infra.local.services import WEB
from infra.local.state import State
from tests.local_world import bare, installation
from tests.waiting import wait_for
from tests.web_world import CHROMIUM, WebWorld

PORT_BASE = 26940
RUNNING = "SMARTFIT_WEB_STATE"


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    """The platform, running, and browsers."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium이 없습니다: make test-web이 설치합니다 (no Chromium: `make test-web` installs it)")
    folder = tmp_path_factory.mktemp("web")
    running = os.environ.get(RUNNING)
    with _pages_alone(State(Path(running))) if running else _whole() as (state, url), sync_playwright() as playwright:
        world = WebWorld(state, playwright, folder, url)
        try:
            yield world
        finally:
            world.close()


@contextmanager
def _whole() -> Iterator[tuple[State, str]]:
    with installation(PORT_BASE) as state:
        yield state, environment.gateway_url(state)


@contextmanager
def _pages_alone(state: State) -> Iterator[tuple[State, str]]:
    port = free_port()
    settings = {**bare(), **environment.web(state), "SMARTFIT_API_PORT": str(port)}
    tls = ["--certfile", str(state.tls / "gateway.pem"), "--keyfile", str(state.tls / "gateway.key")]
    with subprocess.Popen([*WEB[:-1], *tls, WEB[-1]], env=settings) as process:
        url = f"https://127.0.0.1:{port}"

        def ready() -> bool:
            assert process.poll() is None
            try:
                return requests.get(f"{url}/readyz", verify=str(state.tls / "ca.pem"), timeout=2).ok
            except requests.ConnectionError:
                return False

        try:
            wait_for(ready, 30)
            yield state, url
        finally:
            process.terminate()
