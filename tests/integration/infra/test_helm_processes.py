"""What the chart has a container do at its start and its end is done by the real programs."""

import http.client
import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.gateway.description import Limits
from infra.helm import chart
from infra.helm.network import pods
from infra.local.certificates import Certificate, authority, server
from tests import gateway_world as world
from tests.waiting import wait_for

PRODUCTION = chart.value_sets()["production"]


def container(component: str) -> dict[str, Any]:
    (found,) = [template for name, template in pods(chart.rendered(PRODUCTION)) if name == component]
    (only,) = found["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.fixture
def known(tmp_path: Path) -> Iterator[tuple[int, Certificate]]:
    """A server that lets in only who shows a certificate of its authority: its port, and such a certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/readyz" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    mine = server(tmp_path, "auth", client=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority(tmp_path).chain))
    context.load_cert_chain(mine.chain, mine.key)
    context.verify_mode = ssl.CERT_REQUIRED
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    yield served.server_address[1], mine
    served.shutdown()
    served.server_close()


def test_a_probe_shows_the_services_certificate_and_fails_without_it(known: tuple[int, Certificate]) -> None:
    port, mine = known

    def probe(kind: str, **more: str) -> int:
        program, *arguments = container("auth")[kind]["exec"]["command"]
        assert program == "python"
        arguments = [each.replace(":8000", f":{port}") for each in arguments]
        return subprocess.run([sys.executable, *arguments], env={**os.environ, **more}, capture_output=True).returncode

    named = {each["name"] for each in container("auth")["env"]}
    shown = {"SMARTFIT_INTERNAL_CERT_FILE": str(mine.chain), "SMARTFIT_INTERNAL_KEY_FILE": str(mine.key)}
    assert shown.keys() <= named
    assert probe("livenessProbe", **shown) == 0
    assert probe("readinessProbe", **shown) != 0, "503"
    assert probe("livenessProbe") != 0, "no certificate"


def test_a_gateway_that_leaves_tells_its_connections_and_answers_on(tmp_path: Path) -> None:
    backend = world.Backend()
    gateway = world.gateway_before(tmp_path, Limits(), auth=(backend.address,), platform=(backend.address,))
    process = world.start(gateway, tmp_path)
    try:
        context = ssl.create_default_context(cafile=str(authority(tmp_path).chain))
        connection = http.client.HTTPSConnection("127.0.0.1", gateway.listen[0].port, context=context, timeout=5)

        def get() -> tuple[int, str | None]:
            connection.request("GET", "/auth/v1/jwks.json")
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("connection")

        assert get() == (200, None)
        shell, option, script = container("gateway")["lifecycle"]["preStop"]["exec"]["command"]
        script = script.replace("127.0.0.1/9901", f"127.0.0.1/{gateway.admin.port}").replace("sleep 20", "true")
        assert "true" in script
        done = subprocess.run([shell, option, script], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        # Envoy closes connections one by one over its time for draining; all are served.
        answers = []

        def told() -> bool:
            answers.append(get())
            return answers[-1][1] == "close"

        wait_for(told, 20)
        assert {status for status, _ in answers} == {200}
        assert get()[0] == 200, "a new connection is taken"
    finally:
        process.terminate()
        process.wait(10)
        backend.close()
