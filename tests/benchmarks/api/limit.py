"""The limit of the REST APIs: a bare route of Flask on the gunicorn they run on, alone and behind an Envoy like theirs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.gateway.description import Address, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from infra.local.services import API
from tests.benchmarks.api.bare import JWKS
from tests.benchmarks.api.measure import Server
from tests.benchmarks.capacity.processor import Clock
from tests.gateway_world import bearer, gateway_before, jwk, start
from tests.load_process import Caller, Shot
from tests.local_world import bare
from tests.results import ROOT
from tests.waiting import wait_for

PLENTY = Rate(100_000, 100_000)


@dataclass
class Limit:
    """The bare route, and who asks for it."""

    alone: Server
    behind: Server
    headers: dict[str, str]
    clock: Clock

    def callers(self, count: int) -> list[Caller]:
        """As many connections."""
        return [Caller([Shot("GET", "/access/v1/bare", self.headers)]) for _ in range(count)]


@contextmanager
def limit() -> Iterator[Limit]:
    """Started; stopped at the end."""
    signer, port = Ed25519PrivateKey.generate(), free_port()
    settings = {**bare(), "SMARTFIT_API_PORT": str(port), JWKS: json.dumps({"keys": [jwk(signer, "k1")]})}
    with tempfile.TemporaryDirectory(prefix="smartfit-") as named:
        folder, address = Path(named), Address("127.0.0.1", port)
        with (folder / "api.log").open("wb") as log:
            command = [*API[:-1], "tests.benchmarks.api.bare:create_app()"]
            api = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log)
        try:
            wait_for(lambda: _answers(port), 60, "the bare route")
            limits = Limits(general=PLENTY, sensitive=PLENTY, account=PLENTY)
            gateway = gateway_before(folder, limits, auth=(address,), access=(address,), platform=(address,))
            envoy = start(gateway, folder)
            try:
                yield Limit(
                    Server("127.0.0.1", port, None),
                    Server("127.0.0.1", gateway.listen[0].port, str(authority(folder).chain)),
                    bearer(signer, exp=9_999_999_999),
                    Clock({"api": [api.pid], "gateway": [envoy.pid]}),
                )
            finally:
                envoy.terminate()
                envoy.wait(10)
        finally:
            api.terminate()
            api.wait(20)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=2).ok
    except requests.RequestException:
        return False
