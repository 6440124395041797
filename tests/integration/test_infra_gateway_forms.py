"""The one description as it stands in Compose and in Kubernetes: Envoy takes it, and services are found by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import requests

from infra.gateway import envoy
from infra.gateway.description import Address, Gateway, Limits, Tls
from infra.gateway.forms import compose, kubernetes
from infra.local.certificates import authority, server
from tests.gateway_world import Backend, gateway_before, start
from tests.waiting import wait_for


def _forms(tls: Tls) -> dict[str, Gateway]:
    return {
        "compose": compose(tls=tls),
        "compose without extras": compose(dagster=False, collector=None, tls=tls),
        "kubernetes": kubernetes("smartfit", "gym", tls=tls),
        "kubernetes behind a balancer": kubernetes("a", "b", collector="otel.observability", proxies_before=1, tls=tls),
    }


@pytest.mark.parametrize("form", ["compose", "compose without extras", "kubernetes", "kubernetes behind a balancer"])
def test_envoy_takes_every_form(form: str, tmp_path: Path) -> None:
    certificate = server(tmp_path, "gateway")
    gateway = replace(_forms(Tls(certificate.chain, certificate.key))[form], secrets=tmp_path / "certificates")
    envoy.write(gateway, tmp_path / "envoy.json")
    envoy.validate(tmp_path / "envoy.json")
    rendered = envoy.bootstrap(gateway)["static_resources"]
    assert [each["name"] for each in rendered["listeners"]] == ["https-0", "http-0", "metrics"]
    domains = [each for each in rendered["clusters"] if each["name"] not in ("collector", "dagster", "admin")]
    # Several instances may stand behind each name, so each is asked whether it can serve.
    for each in domains:
        assert each["type"] == "STRICT_DNS"
        assert each["lb_policy"] == "LEAST_REQUEST"
        assert each["health_checks"][0]["http_health_check"]["path"] == "/readyz"


def test_a_balancer_of_our_own_is_believed_about_the_client(tmp_path: Path) -> None:
    backend = Backend()
    gateway = gateway_before(tmp_path, Limits(), auth=(backend.address,), platform=(backend.address,))
    process = start(replace(gateway, proxies_before=1), tmp_path)
    told = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1"}
    try:
        url = f"https://127.0.0.1:{gateway.listen[0].port}/auth/v1/tokens/refresh"
        assert requests.post(url, json={}, headers=told, verify=str(authority(tmp_path).chain)).ok
        seen = backend.seen[-1][2]
        assert seen["x-forwarded-for"].split(",")[0] == "203.0.113.9"
        assert not {"x-forwarded-host", "x-forwarded-port"} & set(seen)
    finally:
        process.terminate()
        process.wait(10)
        backend.close()


def test_service_is_found_by_name(tmp_path: Path) -> None:
    backend = Backend()
    named = (Address("localhost", backend.address.port),)
    gateway = gateway_before(tmp_path, Limits(), auth=named, platform=named)
    process = start(gateway, tmp_path)
    try:
        url = f"https://127.0.0.1:{gateway.listen[0].port}/auth/v1/tokens/refresh"
        verify = str(authority(tmp_path).chain)
        wait_for(lambda: requests.post(url, json={}, verify=verify).status_code == 200)
    finally:
        process.terminate()
        process.wait(10)
        backend.close()
