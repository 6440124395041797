"""Certificates at the gateway: renewed without a restart; towards the services both sides show one, and wrong ones serve nobody."""

import http.server
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from infra.gateway.description import Address, Gateway, Limits, Upstream
from infra.local.certificates import Certificate, authority, server
from tests.gateway_world import Backend, gateway_before, start
from tests.waiting import wait_for

OPEN = "/auth/v1/tokens/refresh"


def _shown(gateway: Gateway, folder: Path) -> bytes:
    """The certificate the gateway shows a new connection, DER."""
    context = ssl.create_default_context(cafile=str(authority(folder).chain))
    address = (gateway.listen[0].host, gateway.listen[0].port)
    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
        shown = tls.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def _failed_rotations(gateway: Gateway) -> int:
    where = f"http://{gateway.admin.host}:{gateway.admin.port}/stats?filter=sds.gateway.key_rotation_failed"
    return int(requests.get(where, timeout=5).text.split(":")[1])


def test_a_renewed_certificate_is_shown_without_a_restart_and_no_connection_ends(tmp_path: Path) -> None:
    backend = Backend()
    gateway = gateway_before(tmp_path, Limits(), auth=(backend.address,), platform=(backend.address,))
    process = start(gateway, tmp_path)
    try:
        before = _shown(gateway, tmp_path)
        context = ssl.create_default_context(cafile=str(authority(tmp_path).chain))
        with (
            socket.create_connection((gateway.listen[0].host, gateway.listen[0].port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as held,
        ):
            # As an installation renews it: the key is moved into place, then the chain.
            server(tmp_path, "gateway", ("localhost", "127.0.0.1", "::1", "renewed.test"))
            wait_for(lambda: _shown(gateway, tmp_path) != before)
            held.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert held.recv(4096).startswith(b"HTTP/1.1 404")
        # One that does not fit its key is not taken.
        good, failed = _shown(gateway, tmp_path), _failed_rotations(gateway)
        (tmp_path / "other").mkdir()
        server(tmp_path / "other", "gateway").chain.replace(tmp_path / "gateway.pem")
        wait_for(lambda: _failed_rotations(gateway) > failed)
        assert _shown(gateway, tmp_path) == good
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(10)
        backend.close()


def test_without_its_certificate_it_serves_nobody_and_says_which_file(tmp_path: Path) -> None:
    address = (Address("127.0.0.1", 1),)
    good = gateway_before(tmp_path, Limits(), auth=address, platform=address)
    gateway = replace(good, tls=replace(good.tls, key=tmp_path / "none.key"))
    process = start(gateway, tmp_path)
    try:
        wait_for(lambda: "none.key" in (tmp_path / "envoy.log").read_text())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _shown(gateway, tmp_path)
    finally:
        process.terminate()
        process.wait(10)


class _Service:
    """A service that speaks TLS and, as `client_ca` says, only with those who show a certificate of that authority."""

    def __init__(self, shown: Certificate, client_ca: Path) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            # Health checks.
            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.chain, shown.key)
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = Address("127.0.0.1", self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two authorities: ours and somebody else's."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    yield ours, theirs


def _status(folder: Path, service: _Service, upstream: Upstream) -> int:
    """What a call through a gateway with `upstream` comes to."""
    made = gateway_before(folder, Limits(), auth=(service.address,), platform=(service.address,))
    gateway = replace(made, upstream=upstream)
    process: subprocess.Popen[bytes] = start(gateway, folder)
    try:
        url = f"https://127.0.0.1:{gateway.listen[0].port}{OPEN}"
        return requests.post(url, json={}, verify=str(authority(folder).chain)).status_code
    finally:
        process.terminate()
        process.wait(10)


def _upstream(ca: Path, shown: Certificate) -> Upstream:
    return Upstream(authority(ca).chain, shown.chain, shown.key)


def test_gateway_and_service_know_each_other_by_certificate(folders: tuple[Path, Path]) -> None:
    ours, theirs = folders
    service = _Service(server(ours, "auth"), authority(ours).chain)
    try:
        assert _status(ours, service, _upstream(ours, server(ours, "gateway-inside", client=True))) == 200
        # A gateway of another authority is turned away by the service.
        assert _status(ours, service, _upstream(ours, server(theirs, "gateway-inside", client=True))) == 503
    finally:
        service.close()


def test_a_service_of_another_authority_or_name_gets_no_request(folders: tuple[Path, Path]) -> None:
    ours, theirs = folders
    upstream = _upstream(ours, server(ours, "gateway-inside", client=True))
    for shown in (server(theirs, "auth"), server(ours, "elsewhere", ("elsewhere.test", "10.9.9.9"))):
        service = _Service(shown, authority(ours).chain)
        try:
            assert _status(ours, service, upstream) == 503
        finally:
            service.close()
