"""The learning side finds the domains at one address for all, or at one for each."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

from data_assets.platform import Platform
from data_assets.settings import DataSettings
from platform_api.core.settings import load

asked: list[str] = []


@pytest.fixture
def port() -> Iterator[int]:
    app = Flask("domains")

    @app.route("/<path:path>", methods=["GET", "POST", "PUT"])
    def any_path(path: str):  # type: ignore[no-untyped-def]
        asked.append(f"{request.method} {path}")
        return jsonify(access_token="token", expires_in=60)

    asked.clear()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()


@pytest.mark.parametrize(("base", "at"), [("/at-{domain}", "at-{}/"), ("", "")])
def test_each_call_goes_to_its_domain(
    port: int, base: str, at: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {
        "PLATFORM_URL": f"http://127.0.0.1:{port}{base}", "DAGSTER_CLIENT_SECRET": "x", "HELPER_READER_URL": "x", "AUTH_READER_URL": "x",
        "DATA_WORK_DIR": str(tmp_path), "MODEL_SIGNING_KEY_FILE": str(tmp_path / "key"),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"SMARTFIT_{name}", value)
    platform = Platform.from_settings(load(DataSettings))
    platform.get("/mlops/v1/models")
    platform.post("/search/internal/v1/index", {})
    platform.put("/branch/internal/v1/preferences", {})
    calls = [("POST", "auth/v1/service-tokens"), ("GET", "mlops/v1/models"), ("POST", "search/internal/v1/index"), ("PUT", "branch/internal/v1/preferences")]  # fmt: skip
    assert asked == [f"{method} {at.format(path.split('/')[0])}{path}" for method, path in calls]
