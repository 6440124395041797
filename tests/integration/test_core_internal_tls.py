"""TLS among the services: gunicorn as the product configures it, the gateway before it, and another service that calls it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from infra.gateway.description import Address, Gateway, Limits, Upstream
from infra.local.certificates import Certificate, authority, server
from infra.local.postgres import free_port
from platform_api.core.http import ServiceUnavailable, client
from platform_api.core.internal_tls import internal_tls
from tests.gateway_world import gateway_before, start
from tests.waiting import wait_for
from tests.web_process import WebProcess

ROOT = Path(__file__).parents[2]


def _settings(folder: Path, shown: Certificate) -> dict[str, str]:
    files = {"CA": authority(folder).chain, "CERT": shown.chain, "KEY": shown.key}
    return {f"SMARTFIT_INTERNAL_{name}_FILE": str(file) for name, file in files.items()}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Address]:
    """auth, so to speak."""
    address = Address("127.0.0.1", free_port())
    settings = {
        **os.environ,
        **_settings(tmp_path, server(tmp_path, "auth", client=True)),
        "SMARTFIT_API_PORT": str(address.port),
        "NAME": "auth",
        "DRAINING": str(tmp_path / "draining"),
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:platform_api.gunicorn_conf"]
    with (tmp_path / "auth.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "tests.gateway_backend:application"], cwd=ROOT, env=settings, stdout=log, stderr=log
        )
    yield address
    process.terminate()
    process.wait(20)


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """This process is another service, with its own certificate."""
    shown = server(tmp_path, "access", client=True)
    for name, value in _settings(tmp_path, shown).items():
        monkeypatch.setenv(name, value)
    return shown


def _call(service: Address, *, certificate: tuple[str, str] | None, verify: str | bool) -> str:
    made = client("auth", f"https://127.0.0.1:{service.port}", verify=verify, certificate=certificate, breaker=False)
    return made.get("/internal/v1/x").text


def test_services_that_show_a_certificate_hear_one_another_and_nobody_else_does(
    service: Address, caller: Certificate, tmp_path: Path
) -> None:
    tls = internal_tls()

    def answered() -> bool:
        try:
            return _call(service, certificate=tls.pair, verify=tls.verify) == "auth"
        except ServiceUnavailable:
            return False

    wait_for(answered, 30, "auth answers")
    with pytest.raises(ServiceUnavailable):
        _call(service, certificate=None, verify=tls.verify)
    (tmp_path / "theirs").mkdir()
    foreign = server(tmp_path / "theirs", "access", client=True)
    with pytest.raises(ServiceUnavailable):
        _call(service, certificate=(str(foreign.chain), str(foreign.key)), verify=tls.verify)
    # A service that is not of our authority is not believed either.
    with pytest.raises(ServiceUnavailable):
        _call(service, certificate=tls.pair, verify=str(authority(tmp_path / "theirs").chain))
    # A renewed certificate is taken up by the next connection, on both sides, without a restart.
    before = (tmp_path / "auth.pem").read_bytes()
    for name in ("auth", "access"):
        server(tmp_path, name, ("localhost", "127.0.0.1", "::1", "renewed.test"), client=True)
    assert (tmp_path / "auth.pem").read_bytes() != before
    assert _call(service, certificate=tls.pair, verify=tls.verify) == "auth"


def test_the_gateway_asks_health_and_passes_requests_over_it(service: Address, tmp_path: Path) -> None:
    shown = server(tmp_path, "gateway-inside", client=True)
    # Two addresses, so that it asks for their health; nobody listens at the second.
    addresses = (service, Address("127.0.0.1", free_port()))
    made: Gateway = gateway_before(tmp_path, Limits(), auth=addresses, platform=addresses)
    gateway = replace(made, upstream=Upstream(authority(tmp_path).chain, shown.chain, shown.key))
    process = start(gateway, tmp_path)
    try:
        url = f"https://127.0.0.1:{gateway.listen[0].port}/auth/v1/tokens/refresh"
        verify = str(authority(tmp_path).chain)
        wait_for(lambda: requests.post(url, json={}, verify=verify).text == "auth", 30)
    finally:
        process.terminate()
        process.wait(10)


def test_the_pages_process_shows_its_certificate_to_the_domains_and_asks_the_gateway_for_one(
    service: Address, tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    settings = _settings(tmp_path, server(tmp_path, "web", client=True))
    web = WebProcess(tmp_path / "pages", f"https://127.0.0.1:{service.port}", **settings)
    shown = server(tmp_path, "gateway-inside", client=True)
    made = gateway_before(
        tmp_path, Limits(), auth=(service,), platform=(service,), web=(web.address,), live=(web.address,)
    )
    process = start(replace(made, upstream=Upstream(authority(tmp_path).chain, shown.chain, shown.key)), tmp_path)
    try:
        url, ca = f"https://127.0.0.1:{made.listen[0].port}", str(authority(tmp_path).chain)
        wait_for(lambda: requests.get(f"{url}/app/login", verify=ca, timeout=10).ok, 30, "the pages")
        inside = f"https://127.0.0.1:{web.port}"
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"{inside}/app/login", verify=ca, timeout=10)

        def answered() -> bool:
            requests.post(f"{url}/app/login", data={"email": "a"}, headers={"Origin": url}, verify=ca, timeout=20)
            figures = requests.get(f"{inside}/metrics", verify=ca, cert=(shown.chain, shown.key), timeout=10).text
            return 'smartfit_outgoing_requests_total{outcome="answered",service="auth"}' in figures

        wait_for(answered, 20, "the domain was asked, by certificate", every=1.0)
    finally:
        process.terminate()
        process.wait(10)
        web.close()
