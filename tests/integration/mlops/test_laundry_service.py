"""The BentoML service of the photo judge, and the worker that judges through it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ml_bentos import registry
from ml_bentos.laundry import package
from platform_api.core.http import ServiceUnavailable
from platform_api.mlops import rollout
from platform_api.mlops.judge import Remote, judge
from platform_api.mlops.settings import settings
from tests.integration.mlops.conftest import taught


@pytest.fixture(scope="module")
def service(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the service; nothing is live at its start."""
    (models_dir / "laundry" / "live.json").unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", "ml_bentos.laundry.service:LaundryService"]
    log = tmp_path_factory.mktemp("bento") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=output, stderr=output,
            env={**os.environ, "BENTOML_DO_NOT_TRACK": "True"}, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 240
        while True:
            assert process.poll() is None, log.read_text()
            try:
                if requests.get(f"{url}/readyz", timeout=2).ok:
                    break
            except requests.RequestException:
                pass
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def remote(service: str, world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world whose worker judges through the service."""
    monkeypatch.setenv("SMARTFIT_LAUNDRY_BENTO_URL", service)
    settings.cache_clear()
    judge.cache_clear()
    return world


def ask(service: str, photo: bytes, kind: str = "hanging") -> requests.Response:
    return requests.post(
        f"{service}/judge", params={"kind": kind}, data=photo, headers={"Content-Type": "image/jpeg"}, timeout=20
    )


def test_a_deployment_waits_until_the_service_serves(remote: Any, service: str, versions: list[str]) -> None:
    assert ask(service, taught("hung", 1)).json()["reason"] == "no_model"
    assert remote.deploy(versions[0])["state"] == "live"
    said = remote.submit(remote.task(taught("hung", 1), taught("flat", 2), b"no photo"))
    assert said["model_version"] == versions[0]
    assert [(photo["verdict"], photo["reason"]) for photo in said["photos"]] == [
        ("done", None), ("not_done", None), ("unclear", "photo_unreadable"),
    ]  # fmt: skip
    assert remote.deploy(versions[1])["state"] == "live"
    answer = ask(service, taught("hung", 1)).json()
    assert answer["model_version"] == versions[1]
    assert 0 <= answer["done"] <= 1
    assert ask(service, taught("hung", 1), "ironing").json()["reason"] == "kind_not_taught"


def test_a_version_that_the_service_cannot_build_is_taken_back(
    remote: Any, service: str, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote.deploy(versions[0])["state"] == "live"
    remote.ok("POST", "/models/laundry/versions", json={"version": versions[1]})
    monkeypatch.setattr(Remote, "LONGEST_WAIT", 3.0)
    body = {"version": versions[1], "stages": []}
    asked = remote.ok("POST", "/models/laundry/deployments", json=body)
    with monkeypatch.context() as patch:
        # The service finds another version named than the worker named.
        patch.setattr(registry, "set_live", lambda kind, version: None)
        rollout.carry_out()
    failed = remote.ok("GET", f"/deployments/{asked['deployment_id']}")
    assert (failed["state"], versions[1] in failed["error"]) == ("failed", True)
    assert remote.ok("GET", "/models/laundry")["live_version"] == versions[0]
    assert ask(service, taught("hung", 1)).json()["model_version"] == versions[0]


def test_bad_requests_are_answered_and_kill_nothing(service: str) -> None:
    for photo, kind, code in (
        (b"x", "hanging", "not_an_image"),
        (taught("hung", 1), "", "kind_missing"),
        (taught("hung", 1)[:2000], "hanging", "image_truncated"),
    ):
        answer = ask(service, photo, kind)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail_en"]
    assert requests.post(f"{service}/state", timeout=10).json()["trouble"] == ""


def test_while_the_service_is_away_the_task_waits(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_LAUNDRY_BENTO_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    judge.cache_clear()
    with pytest.raises(ServiceUnavailable):
        remote.submit(remote.task(taught("hung", 1)))
    assert remote.rows("SELECT 1 FROM judgement") == []
    assert remote.published("mlops.TaskJudged") == []


def test_the_packages_name_is_the_stores(versions: list[str]) -> None:
    assert set(versions) <= set(package.versions())
