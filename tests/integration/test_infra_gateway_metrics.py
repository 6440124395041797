"""The gateway's figures are there for Prometheus, and of its admin interface nothing else is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from infra.gateway.description import Address, Gateway, Limits
from infra.local.certificates import authority
from infra.local.postgres import free_port
from tests.gateway_world import Backend, gateway_before, start


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    backend = Backend(lambda path: (500 if "refresh" in path else 200, {}))
    away = Address("127.0.0.1", free_port())
    made = gateway_before(tmp_path, Limits(), auth=(backend.address,), branch=(away,), platform=(backend.address,))
    made = replace(made, metrics=Address("127.0.0.1", free_port()))
    process = start(made, tmp_path)
    yield made
    process.terminate()
    process.wait(10)
    backend.close()


def ask(gateway: Gateway, path: str, method: str = "GET") -> requests.Response:
    """Of the listener for Prometheus; the path goes as it is written."""
    assert gateway.metrics is not None
    request = requests.Request(method, f"http://127.0.0.1:{gateway.metrics.port}/").prepare()
    request.url = f"http://127.0.0.1:{gateway.metrics.port}{path}"
    with requests.Session() as session:
        return session.send(request, timeout=5)


def test_what_the_gateway_saw_is_told_by_domain(gateway: Gateway, tmp_path: Path) -> None:
    site, verify = f"https://127.0.0.1:{gateway.listen[0].port}", str(authority(tmp_path).chain)
    assert requests.post(f"{site}/auth/v1/tokens/refresh", json={}, verify=verify).status_code == 500
    assert requests.get(f"{site}/branch/v1/branches", verify=verify).status_code == 503
    answer = ask(gateway, "/stats/prometheus")
    assert answer.status_code == 200
    lines = answer.text.splitlines()
    of = 'envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="%s"} 1'
    assert of % "auth" in lines
    # Nobody answered there, and it counts against that domain all the same.
    assert of % "branch" in lines
    (days,) = (line.split()[-1] for line in lines if line.startswith("envoy_server_days_until_first_cert_expiring{}"))
    assert int(days) > 30
    assert ask(gateway, "/metrics").text.count("\n") == pytest.approx(answer.text.count("\n"), rel=0.1)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/", "GET"), ("/config_dump", "GET"), ("/certs", "GET"), ("/stats", "GET"), ("/clusters", "GET"),
        ("/stats/prometheus/", "GET"), ("/stats/prometheus/../../quitquitquit", "GET"), ("/stats/prometheus?usedonly", "GET"),
        ("/stats/prometheus%2f..%2f..%2fconfig_dump", "GET"), ("/stats/prometheus", "POST"), ("/quitquitquit", "POST"),
        ("/reset_counters", "POST"), ("//stats/prometheus", "GET"), ("/metrics?x=1", "GET"),
    ],
)  # fmt: skip
def test_nothing_else_of_the_admin_interface_answers(gateway: Gateway, path: str, method: str) -> None:
    assert ask(gateway, path, method).status_code == 404


def test_a_gateway_without_such_a_port_has_none(tmp_path: Path) -> None:
    from infra.gateway import envoy

    made = gateway_before(tmp_path, Limits(), auth=(Address("127.0.0.1", 1),), platform=(Address("127.0.0.1", 1),))
    names = [each["name"] for each in envoy.bootstrap(made)["static_resources"]["listeners"]]
    assert names == ["https-0"]
