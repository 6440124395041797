"""What the gateway does while what it rests on is away or moves: the key set of auth, and the addresses that DNS gives."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from infra.gateway import envoy
from infra.gateway.description import Address, Gateway, Jwt, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from tests.gateway_world import Backend, bearer, gateway_before, jwk, start
from tests.waiting import wait_for

PLENTY = Limits(general=Rate(2000, 2000), account=Rate(2000, 2000))


def _session(folder: Path) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(authority(folder).chain)
    return session


def test_sessions_outlive_an_outage_of_the_key_set(tmp_path: Path) -> None:
    signer = Ed25519PrivateKey.generate()
    auth, access = Backend(lambda _: (200, {"keys": [jwk(signer, "k1")]})), Backend()
    gateway = replace(
        gateway_before(tmp_path, PLENTY, auth=(auth.address,), access=(access.address,), platform=(access.address,)),
        jwt=Jwt(refresh_s=1),
    )
    process = start(gateway, tmp_path)
    try:
        session, url = _session(tmp_path), f"https://127.0.0.1:{gateway.listen[0].port}/access/v1/x"
        wait_for(lambda: session.get(url, headers=bearer(signer)).ok)
        auth.close()
        # Several refreshes are missed.
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert session.get(url, headers=bearer(signer)).status_code == 200
            time.sleep(0.1)
        assert session.get(url, headers=bearer(Ed25519PrivateKey.generate())).status_code == 401
    finally:
        process.terminate()
        process.wait(10)
        access.close()


def test_without_any_key_yet_nobody_is_told_to_log_in_again(tmp_path: Path) -> None:
    """A gateway that starts while auth is away knows no key. It says so (503), lets nobody in, and serves once auth is there."""
    signer = Ed25519PrivateKey.generate()
    port = free_port()
    access = Backend()
    later = Address("127.0.0.1", port)
    gateway = gateway_before(tmp_path, PLENTY, auth=(later,), access=(access.address,), platform=(access.address,))
    process = start(gateway, tmp_path)
    try:
        session, url = _session(tmp_path), f"https://127.0.0.1:{gateway.listen[0].port}/access/v1/x"
        answer = session.get(url, headers=bearer(signer))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert session.get(url).status_code == 401
        assert access.seen == []
        auth = Backend(lambda _: (200, {"keys": [jwk(signer, "k1")]}), port)
        wait_for(lambda: session.get(url, headers=bearer(signer)).status_code == 200)
        auth.close()
    finally:
        process.terminate()
        process.wait(10)
        access.close()


class _Zone(BaseResolver):  # type: ignore[misc]
    """Answers every question for `access.test` with the addresses it holds now."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        if str(request.q.qname) == "access.test." and request.q.qtype == QTYPE.A:
            for address in self.addresses:
                reply.add_answer(RR("access.test", QTYPE.A, rdata=A(address), ttl=1))
        return reply


class _Replicas:
    """Backends on one port of several loopback addresses, as replicas stand behind one name."""

    def __init__(self, *hosts: str) -> None:
        self.port = free_port()
        self.backends = {host: Backend(lambda path, host=host: (200, {"by": host}), self.port, host) for host in hosts}  # type: ignore[misc]

    def close(self) -> None:
        for backend in self.backends.values():
            backend.close()


@pytest.fixture
def named(tmp_path: Path) -> Iterator[tuple[Gateway, _Zone, _Replicas, Ed25519PrivateKey]]:
    zone = _Zone(["127.0.0.2", "127.0.0.3"])
    dns = DNSServer(zone, address="127.0.0.1", port=0, logger=DNSLogger("-request,-reply"))
    dns_port = dns.server.server_address[1]
    dns.start_thread()
    replicas = _Replicas("127.0.0.2", "127.0.0.3", "127.0.0.4")
    signer = Ed25519PrivateKey.generate()
    auth = Backend(lambda _: (200, {"keys": [jwk(signer, "k1")]}))
    name = (Address("access.test", replicas.port),)
    gateway = gateway_before(tmp_path, PLENTY, auth=(auth.address,), access=name, platform=(auth.address,))
    config = envoy.bootstrap(gateway)
    # The machine's own resolver knows no such name: the cluster is asked to use the zone above.
    resolver = {"@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"}
    resolver |= {"resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": dns_port}}]}  # type: ignore[dict-item]
    for cluster in config["static_resources"]["clusters"]:
        if cluster["name"] == "access":
            cluster["typed_dns_resolver_config"] = {
                "name": "envoy.network.dns_resolver.cares",
                "typed_config": resolver,
            }
    path = tmp_path / "named.json"
    envoy.write(gateway, path)
    path.write_text(json.dumps(config), encoding="utf-8")
    with (tmp_path / "named.log").open("ab") as log:
        process = subprocess.Popen(envoy.command(path), stdout=log, stderr=log)
    yield gateway, zone, replicas, signer
    process.terminate()
    process.wait(10)
    dns.stop()
    auth.close()
    replicas.close()


def test_load_is_shared_by_the_replicas_that_dns_names(
    named: tuple[Gateway, _Zone, _Replicas, Ed25519PrivateKey], tmp_path: Path
) -> None:
    gateway, zone, _, signer = named
    session, url = _session(tmp_path), f"https://127.0.0.1:{gateway.listen[0].port}/access/v1/x"

    def answering() -> bool:
        try:
            return session.get(url, headers=bearer(signer)).ok
        except requests.ConnectionError:
            return False

    def shares() -> Counter[str]:
        return Counter(session.get(url, headers=bearer(signer)).json().get("by", "none") for _ in range(60))

    wait_for(answering)
    # Least request of two picked at random: each has its share, none has nearly all.
    both = shares()
    assert set(both) == {"127.0.0.2", "127.0.0.3"}
    assert min(both.values()) >= 10
    # A replica more, one less: followed without a restart and without a failed request.
    zone.addresses[:] = ["127.0.0.3", "127.0.0.4"]
    wait_for(lambda: set(shares()) == {"127.0.0.3", "127.0.0.4"}, 30)
