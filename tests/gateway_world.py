"""A real Envoy in front of small real servers, for the tests of the gateway."""

import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.gateway import envoy
from infra.gateway.description import GATES, LIVE, Address, Gateway, Limits, Tls, routes_of
from infra.local.certificates import server
from infra.local.postgres import free_port

Answer = tuple[int, dict[str, Any]]


class Backend:
    """An HTTP server that answers by `answer(path)` and keeps the requests it got."""

    def __init__(self, answer: Callable[[str], Answer] | None = None, port: int = 0, host: str = "127.0.0.1") -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        reply = answer or (lambda path: (200, {"path": path}))
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.headers.get("user-agent") != "Envoy/HC":
                    seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, body = reply(self.path)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.server.daemon_threads = True
        self.address = Address(host, self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def start(gateway: Gateway, folder: Path) -> "subprocess.Popen[bytes]":
    config = folder / "envoy.json"
    envoy.write(gateway, config)
    with (folder / "envoy.log").open("ab") as output:
        process = subprocess.Popen(envoy.command(config), stdout=output, stderr=output)
    for _ in range(200):
        try:
            socket.create_connection((gateway.listen[0].host, gateway.listen[0].port), 1).close()
            return process
        except OSError:
            assert process.poll() is None, (folder / "envoy.log").read_text()
            time.sleep(0.05)
    raise AssertionError("Envoy did not open its port")


def gateway_before(folder: Path, limits: Limits, **clusters: tuple[Address, ...]) -> Gateway:
    """The description of one that listens on loopback. Where access is, gate nodes come to it, too."""
    certificate = server(folder, "gateway")
    if "access" in clusters:
        clusters.setdefault(GATES, clusters["access"])
    return Gateway(
        listen=(Address("127.0.0.1", free_port()),),
        clusters=clusters,
        tls=Tls(certificate.chain, certificate.key, hsts_seconds=300),
        secrets=folder / "certificates",
        admin=Address("127.0.0.1", free_port()),
        limits=limits,
        routes=routes_of(
            tuple(sorted({*clusters} - {"platform", "dagster", "web", LIVE, GATES})),
            dagster="dagster" in clusters,
            web="web" in clusters,
        ),
    )


def in_service(gateway: Gateway, cluster: str, address: Address) -> bool:
    """Whether Envoy sends requests of `cluster` to `address`."""
    where = f"http://{gateway.admin.host}:{gateway.admin.port}/clusters?format=json"
    told = requests.get(where, timeout=5).json()["cluster_statuses"]
    hosts = next(each for each in told if each["name"] == cluster)["host_statuses"]
    status = next(h["health_status"] for h in hosts if h["address"]["socket_address"]["port_value"] == address.port)
    return not any(status.get(reason) for reason in ("failed_active_health_check", "failed_outlier_check"))


def bearer(key: Any, algorithm: str = "EdDSA", kid: str = "k1", **changed: object) -> dict[str, str]:
    """The header with an access token signed by `key`; `changed`: claims that are not those of a good one."""
    token = jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": kid})
    return {"Authorization": f"Bearer {token}"}


def jwk(key: Ed25519PrivateKey, kid: str) -> dict[str, Any]:
    """The public half, as a key set has it."""
    return {
        **json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key())),
        "kid": kid,
        "alg": "EdDSA",
        "use": "sig",
    }


def claims(**changed: object) -> dict[str, Any]:
    """What a good access token says, with changes."""
    return {"iss": "smartfit-auth", "aud": "smartfit", "sub": "m1", "exp": int(time.time()) + 60, **changed}
