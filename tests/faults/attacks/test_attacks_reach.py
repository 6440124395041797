"""Addresses that people name and the platform calls (SSRF): none leads to where only the inside can reach, whatever it is called.

Three fields of the API hold such an address: what echoes, where a browser takes messages, and who drives a gate. Whoever adds a
fourth has to name it here.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from access_edge.gate import Gates
from access_edge.records import Gate
from access_edge.settings import EdgeSettings
from infra.local.certificates import authority, server
from platform_api.core.addresses import networks, within
from platform_api.monitoring.addresses import BadAddress, allowed, check
from platform_api.monitoring.prober import echo
from platform_api.monitoring.settings import MonitoringSettings
from platform_api.notification import subscriptions
from tests.contract_document import DOCUMENT
from tests.contract_examples import SUBSCRIPTION
from tests.contract_world import World
from tests.faults.attacks.tally import Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "reach"
BAR = "no address that somebody names makes the platform talk to loopback, link-local, metadata or foreign hosts"
# Fields of any schema that hold an address to be called, and what stands before it.
CALLED = {"echo_url": "monitoring", "endpoint": "notification", "controller_url": "access"}
# Addresses inside of the platform that its own pictures have; nobody sends them in.
OWN = {"url", "run_url", "type"}
INSIDE = (
    "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "localhost",
    "localhost.", "LOCALHOST", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[fe80::1]", "[fe80::1%25eth0]", "169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "metadata.google.internal", "instance-data", "[fd00:ec2::254]", "100.100.100.200",
    "224.0.0.1", "255.255.255.255", "[ff02::1]", "１２７.0.0.1", "127。0。0。1", "ⓛocalhost", "127.0.0.1.nip.io",
)  # fmt: skip
TRICKS = (
    "https://10.0.0.1@127.0.0.1/", "https://10.0.0.1:x@127.0.0.1/", "https://127.0.0.1\\@10.0.0.1/", "https://10.0.0.1#@127.0.0.1/",
    "http://10.0.0.1/", "HTTP://10.0.0.1/", "file:///etc/passwd", "gopher://10.0.0.1:6379/_x", "ftp://10.0.0.1/", "//10.0.0.1/",
    "https:10.0.0.1", "https:///127.0.0.1/", "https://", "https://10.0.0.1:0/", "https://10.0.0.1:99999/", "https://10.0.0.1/\r\nX: y",
    "https://10.0.0.1/ x", "https://10.0.0.1\t/", "jar:https://10.0.0.1!/", "data:text/html,x", "javascript:alert(1)", "https://[::1",
    "https://10.0.0.1/#x", "https://10.0.0.1/\x00",
)  # fmt: skip


class Trap:
    """A TLS server on loopback that nobody must reach; counts connections, requests and the keys that came along."""

    def __init__(self, folder: Any, redirect: str | None = None) -> None:
        trap = self
        self.requests: list[str] = []
        self.keys: list[str] = []
        self.connections = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Silent."""

            def answer(self) -> None:
                trap.requests.append(self.path)
                trap.keys.append(self.headers.get("Authorization", ""))
                self.send_response(302 if redirect else 200)
                if redirect:
                    self.send_header("Location", redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = answer

        class Counting(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                trap.connections += 1
                return super().get_request()

            def handle_error(self, *_: Any) -> None:
                """Whoever hangs up during the handshake."""

        certificate = server(folder, "trap")
        self.ca = authority(folder).chain
        self._server = Counting(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def trap(tmp_path: Any) -> Iterator[Trap]:
    made = Trap(tmp_path)
    yield made
    made.close()


def shipped() -> Any:
    """The networks that the prober may ask, where nobody has set any."""
    return networks(str(MonitoringSettings.model_fields["echo_networks"].default))


def asked(url: str, found: Any, ca: Any) -> str | None:
    """Why the prober got no echo from there; None where it got one."""
    target = echo.Target(url, found, echo.tls_context(ca))
    try:
        return target.ask(0.3, contextlib.nullcontext(), keep=False).error
    finally:
        target.close()


def test_every_field_that_is_called_is_known() -> None:
    """A new field that sounds like an address to be called belongs above, with a test."""
    found = {
        field
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, told in schema.get("properties", {}).items()
        if told.get("format") in ("url", "uri")
        or field.endswith(("url", "uri", "endpoint", "webhook", "callback", "host"))
    }
    assert found - OWN == set(CALLED)


def test_what_echoes_is_in_the_networks_of_equipment(trap: Trap, tally: Tally) -> None:
    for host in INSIDE:
        url = f"https://{host}:{trap.port}/echo"
        try:
            check(url, shipped())
        except BadAddress:
            pass
        except ValueError as error:
            tally.accepted("echo URL", f"{url}: {error!r}")
        error = asked(url, shipped(), trap.ca)
        tally.judge("echo URL", error not in (None, "certificate", "tls", "wrong_nonce", "not_json"), f"{url}: {error}")
    for url in TRICKS:
        refused = False
        try:
            check(url, shipped())
        except BadAddress:
            refused = True
        tally.judge("echo URL of another form", refused, url)
    tally.tried("connections to loopback")
    if trap.connections:
        tally.accepted("connections to loopback", f"{trap.connections}")
    tally.check()


def test_a_name_that_comes_to_mean_something_else_is_judged_when_it_is_called(
    trap: Trap, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: allowed when it was registered, loopback when it is asked; or both in one answer."""
    answers = {
        "rebound.example": ["127.0.0.1"], "metadata.example": ["169.254.169.254"], "mapped.example": ["::ffff:127.0.0.1"],
        "mixed.example": ["127.0.0.1", "::1"], "public.example": ["203.0.113.7"],
    }  # fmt: skip

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answers[host]]

    monkeypatch.setattr(echo.socket, "getaddrinfo", resolve)
    for host in answers:
        url = f"https://{host}:{trap.port}/echo"
        assert check(url, shipped()).host == host
        error = asked(url, shipped(), trap.ca)
        tally.judge("a name that leads inside", error == "address_not_allowed", f"{host}: {error}")
    assert trap.connections == 0
    tally.check()


def test_no_redirect_is_followed(trap: Trap, tally: Tally, tmp_path: Any) -> None:
    """An item that is asked rightly sends the prober, or the gate node, on to somewhere else."""
    (tmp_path / "liar").mkdir()
    liar = Trap(tmp_path / "liar", redirect=f"https://127.0.0.1:{trap.port}/inside")
    try:
        error = asked(f"https://127.0.0.1:{liar.port}/echo", networks("127.0.0.0/8"), liar.ca)
        tally.judge(
            "redirect of an echo", error == "status_302" and not trap.connections, f"{error}, {trap.connections}"
        )
        done = command(liar, "127.0.0.0/8", f"https://127.0.0.1:{liar.port}")
        tally.judge("redirect of a controller", not done and not trap.connections, f"{done}, {trap.connections}")
        assert liar.requests
    finally:
        liar.close()
    tally.check()


def test_equipment_of_the_api_is_judged_when_it_is_registered(world: World, tally: Tally) -> None:
    """The world allows loopback alone, for its own equipment; everything else is refused there as well."""
    for number, url in enumerate(
        (
            *(
                f"https://{host}/"
                for host in INSIDE
                if host.startswith(("169", "[::ffff:a", "[fe", "[64", "100", "224", "[ff"))
            ),
            *TRICKS,
        )
    ):
        body = {"branch_id": "gangnam", "name": f"trap {number}", "kind": "treadmill", "echo_url": url}
        answer = world.client.post("/monitoring/v1/equipment", headers=world.headers("operator"), json=body)
        tally.judge("equipment", answer.status_code == 422, f"{url}: {answer.status_code} {answer.text[:120]}")
    tally.check()


def test_messages_go_to_push_services_alone(world: World, tally: Tally) -> None:
    good = "fcm.googleapis.com"
    endpoints = [
        *(f"https://{host}/x" for host in INSIDE), *TRICKS, f"http://{good}/x", f"https://{good}@127.0.0.1/x", f"https://{good}:x@127.0.0.1/x",
        f"https://{good}.example.com/x", f"https://x{good}/x", f"https://{good}:8443/x", f"https://{good}:22/x", f"https://127.0.0.1/{good}",
        f"https://127.0.0.1?{good}/", f"https://127.0.0.1#{good}/", f"https://127.0.0.1\\.{good}/", f"https://{good}\\@127.0.0.1/",
        f"https://{good}%2f@127.0.0.1/", f"https://{good}\r\nHost: 127.0.0.1/", f"https://{good.upper()}.evil.example/", "https://push.apple.com/x",
        "https://.push.apple.com/x", "https://evilpush.apple.com/x", "https://xnotify.windows.com/x",
    ]  # fmt: skip
    for endpoint in endpoints:
        body = {"subscription": {**SUBSCRIPTION, "endpoint": endpoint}}
        answer = world.client.post("/notification/v1/devices/webpush", headers=world.headers("customer"), json=body)
        tally.judge("push endpoint", answer.status_code == 422, f"{endpoint}: {answer.status_code} {answer.text[:120]}")
        known = subscriptions.hosts(subscriptions.WELL_KNOWN)
        tally.judge("push endpoint at the sender", subscriptions.service_of(endpoint, known) is None, endpoint)
    body = {"subscription": {**SUBSCRIPTION, "endpoint": f"https://{good}/wp/right"}}
    assert (
        world.client.post("/notification/v1/devices/webpush", headers=world.headers("customer"), json=body).status_code
        == 201
    )
    tally.check()


def command(trap: Trap, allowed_in: str, url: str) -> bool:
    """Have a gate node open a gate whose controller is said to be there."""
    settings = EdgeSettings.model_construct(
        gate_ca_file=trap.ca, gate_timeout_s=0.3, gate_networks=allowed_in,
        gate_api_key=SecretStr("the-key-of-the-gates"),
    )  # fmt: skip
    gate = Gate(gate_id="g", branch_id="gangnam", controller_url=url, controller_gate_id="d", kiosk_key_sha256="0" * 64)
    return Gates(settings).command(gate, "open", "command-1")


def test_the_key_of_the_gates_is_sent_to_gate_controllers_alone(trap: Trap, tally: Tally) -> None:
    """A manager says where a controller is; the node's key goes to the networks of controllers and nowhere else."""
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"):
        done = command(trap, "10.0.0.0/8", f"https://{host}:{trap.port}")
        tally.judge("controller elsewhere", not done and not trap.keys, f"{host}: {trap.keys}")
    assert trap.requests == []
    # It was the network, and nothing else, that stood between them.
    command(trap, "127.0.0.0/8", f"https://127.0.0.1:{trap.port}")
    assert trap.keys
    assert trap.keys[0].endswith("the-key-of-the-gates")
    shipped_in = networks(str(EdgeSettings.model_fields["gate_networks"].default))
    for address in (
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "203.0.113.7",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
    ):
        tally.judge("address of no controller", not within(address, shipped_in), address)
        tally.judge("address of no equipment", not allowed(address, shipped()), address)
    assert within("192.168.0.7", shipped_in)
    assert within("::ffff:10.1.2.3", shipped_in)
    tally.check()


def test_nothing_in_the_environment_leads_calls_elsewhere(
    monkeypatch: pytest.MonkeyPatch, trap: Trap, tmp_path: Any
) -> None:
    """A proxy named in the environment is not asked by the gate node."""
    (tmp_path / "proxy").mkdir()
    proxy = Trap(tmp_path / "proxy")
    try:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        command(trap, "127.0.0.0/8", f"https://127.0.0.1:{trap.port}")
        assert trap.requests
        assert proxy.connections == 0
    finally:
        proxy.close()
