"""What the tests of the search and preference lines share: domains served by HTTP, a store, a language model's sandbox."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import requests
from flask import Flask
from requests.auth import AuthBase
from werkzeug.serving import make_server

from dagster_project.values import JsonValues
from data_assets.platform import Platform
from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from platform_api.core.http import client
from platform_api.core.settings import Settings
from platform_api.core.storage import ObjectStore

ROOT = Path(__file__).resolve().parents[1]
LLM_KEY = "llm-sandbox-key"


class Bearer(AuthBase):
    """A service's token, made anew for each call."""

    def __init__(self, headers: Callable[[], dict[str, str]]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers())
        return request


@contextmanager
def served(app: Flask, token_for: Callable[..., dict[str, str]]) -> Iterator[Platform]:
    """The application on a socket, and the data side's way to it."""
    listener = make_server("127.0.0.1", free_port(), app, threaded=True)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    auth = Bearer(lambda: token_for("dagster", "service"))
    try:
        yield Platform(client("platform", f"http://127.0.0.1:{listener.server_port}", auth=auth, breaker=False))
    finally:
        listener.shutdown()
        thread.join()


def object_store(folder: Path, keyring_file: Path) -> ObjectStore:
    """An object store of its own in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return ObjectStore.from_settings(Settings(storage_url=folder.as_uri(), keyring_file=keyring_file))


def materialize(
    assets: Sequence[Any], checks: Sequence[Any], platform: Platform, store: ObjectStore, **options: Any
) -> dg.ExecuteInProcessResult:
    """Run a line in this process, as the Dagster project wires it."""
    return dg.materialize(
        [*assets, *checks],
        resources={"platform": platform, "store": store, "io_manager": JsonValues(store)},
        raise_on_error=False,
        **options,
    )


def metadata(result: dg.ExecuteInProcessResult, asset: dg.AssetKey) -> dict[str, Any]:
    """What an asset has told."""
    (event,) = result.asset_materializations_for_node("__".join(asset.path))
    return {name: value.value for name, value in event.metadata.items()}


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """How the checks ended."""
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


class Llm:
    """The sandbox of a language model, as a process of its own, by HTTPS."""

    def __init__(self, folder: Path) -> None:
        certificate, port = server(folder, "llm"), free_port()
        (folder / "api_key").write_text(LLM_KEY)
        files = ["--cert", str(certificate.chain), "--key", str(certificate.key)]
        options = ["--port", str(port), *files, "--api-key-file", str(folder / "api_key")]
        command = [sys.executable, "-m", "infra.sandboxes.llm", *options]
        self.ca_file = str(authority(folder).chain)
        self.url = f"https://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env, self._session.verify = False, self.ca_file
        self._session.headers["Authorization"] = f"Bearer {LLM_KEY}"
        self._process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(150):
            try:
                self._session.get(f"{self.url}/healthz", timeout=5)
                return
            except requests.ConnectionError:
                assert self._process.poll() is None
                time.sleep(0.1)

    def post(self, path: str, body: Any) -> requests.Response:
        """Control or ask it."""
        return self._session.post(self.url + path, json=body, timeout=10)

    def questions(self) -> int:
        """How many were answered so far."""
        return len(self._session.get(f"{self.url}/sandbox/log", timeout=10).json()["entries"])

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
