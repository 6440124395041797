"""What the gateway promises beyond passing requests on: keys, identity, traces, logs, and that one fault stays one fault."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.gateway import accesslog, envoy
from infra.gateway.description import GATES, Address, Breaker, Jwt, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from infra.observability.elk import calls
from platform_api.core.telemetry import ecs
from tests.gateway_world import Backend, bearer, gateway_before, jwk, start
from tests.waiting import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class World(NamedTuple):
    url: str
    plain: str
    session: requests.Session
    access: Backend
    keys: list[dict[str, Any]]
    signer: Ed25519PrivateKey
    stalled: threading.Event
    log: Path

    def bearer(self, key: Any = None, algorithm: str = "EdDSA", kid: str = "k1", **changed: object) -> dict[str, str]:
        return bearer(key or self.signer, algorithm, kid, **changed)

    def get(self, headers: dict[str, str], path: str = "/access/v1/branches") -> requests.Response:
        return self.session.get(self.url + path, headers=headers)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    signer = Ed25519PrivateKey.generate()
    keys = [jwk(signer, "k1")]
    stalled = threading.Event()

    def answer(path: str) -> tuple[int, dict[str, Any]]:
        if path.endswith("/stalled"):
            stalled.wait(20)
        return 200, {"keys": list(keys)} if path.endswith("jwks.json") else {"path": path}

    auth, access = Backend(answer), Backend(answer)
    gateway = replace(
        gateway_before(
            tmp_path,
            Limits(general=Rate(2000, 2000), account=Rate(1, 10)),
            auth=(auth.address,),
            access=(access.address,),
            platform=(auth.address,),
        ),
        jwt=Jwt(refresh_s=1),
        plain=(Address("127.0.0.1", free_port()),),
        breaker=Breaker(max_connections=4, max_pending_requests=2, max_requests=4),
    )
    process = start(gateway, tmp_path)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(authority(tmp_path).chain)
    url, plain = (f"//127.0.0.1:{port}" for port in (gateway.listen[0].port, gateway.plain[0].port))
    yield World(f"https:{url}", f"http:{plain}", session, access, keys, signer, stalled, tmp_path / "envoy.log")
    stalled.set()
    process.terminate()
    process.wait(10)
    auth.close()
    access.close()


def test_plain_http_is_sent_to_https_and_served_nowhere(world: World) -> None:
    for method in ("GET", "POST"):
        sent = world.session.request(method, world.plain + "/auth/v1/tokens?a=1", allow_redirects=False)
        assert (sent.status_code, sent.headers["location"]) == (308, world.url + "/auth/v1/tokens?a=1")


def test_rsa_and_edwards_keys_are_both_good_and_a_public_key_is_no_secret(world: World) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    world.keys.append({**public, "kid": "r1", "alg": "RS256", "use": "sig"})
    wait_for(lambda: world.get(world.bearer(key, "RS256", "r1", sub="a")).status_code != 401)
    assert world.get(world.bearer(sub="b")).status_code == 200
    # The classic confusion: the public key used as the secret of an HMAC.
    secret = world.signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert world.get(world.bearer(secret, "HS256")).status_code == 401


def test_key_that_was_taken_out_is_refused_after_the_refresh(world: World) -> None:
    # The same token, which has been accepted before: no memory of good tokens may outlive its key.
    token = world.bearer(sub="rotated")
    assert world.get(token).status_code == 200
    follower = Ed25519PrivateKey.generate()
    world.keys[:] = [jwk(follower, "k2")]
    wait_for(lambda: world.get(token).status_code == 401, 10)
    assert world.get(world.bearer(follower, kid="k2", sub="c")).status_code == 200


def test_clocks_may_differ_by_five_seconds_and_no_more(world: World) -> None:
    now = int(time.time())
    assert world.get(world.bearer(exp=now - 1)).status_code == 200
    assert world.get(world.bearer(exp=now - 30)).status_code == 401
    assert world.get(world.bearer(nbf=now + 30)).status_code == 401


def test_what_only_the_gateway_may_say_is_taken_off(world: World) -> None:
    forged = {
        "X-Forwarded-For": "10.9.9.9",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Client-Cert": "By=x",
        "X-Smartfit-Subject": "operator",
        "x-SMARTFIT-roles": "operator",
        "X-Envoy-Original-Path": "/access/internal/v1",
        "X-Envoy-Upstream-Rq-Timeout-Ms": "1",
        "X-Real-IP": "10.9.9.9",
        "Forwarded": "for=10.9.9.9",
        "X-Request-Id": "mine",
    }
    assert world.get({**world.bearer(), **forged}).status_code == 200
    seen = world.access.seen[-1][2]
    # One address, that of the connection (Envoy writes the machine's own for loopback).
    assert "10.9.9.9" not in seen["x-forwarded-for"]
    assert "," not in seen["x-forwarded-for"]
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-request-id"] != "mine"
    gone = {*map(str.lower, forged), "x-envoy-internal"} - {"x-forwarded-for", "x-forwarded-proto", "x-request-id"}
    assert not gone & set(seen)


def test_trace_goes_on_or_begins_here(world: World) -> None:
    world.get({**world.bearer(), "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": "gym=1"})
    seen = world.access.seen[-1][2]
    assert seen["traceparent"].split("-")[1] == TRACE
    assert seen["tracestate"] == "gym=1"
    world.get(world.bearer())
    version, trace, span, _ = world.access.seen[-1][2]["traceparent"].split("-")
    assert (version, len(trace), len(span)) == ("00", 32, 16)
    assert trace not in (TRACE, "0" * 32)


def test_access_log_is_json_and_keeps_no_secret(world: World) -> None:
    headers = {**world.bearer(), "Cookie": "session=cookie-secret", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    answer = world.get(headers, "/access/v1/branches?code=query-secret")
    wait_for(lambda: TRACE in world.log.read_text(), 15)
    text = world.log.read_text()
    for secret in ("cookie-secret", "query-secret", headers["Authorization"].split()[1]):
        assert secret not in text
    line = next(json.loads(line) for line in text.splitlines() if TRACE in line)
    assert line["http.request.id"] == answer.headers["x-request-id"]
    assert line["trace.id"] == TRACE
    # What the index knows, in the type it has there.
    types = {**ecs.FIELDS, **accesslog.FIELDS}
    assert accesslog.fields() <= set(types)
    assert not {name for name, value in line.items() if not calls.fits(types[name], value)}
    assert datetime.fromisoformat(line["@timestamp"]).tzinfo is not None
    assert (line["http.request.method"], line["url.path"]) == ("GET", "/access/v1/branches")
    assert (line["http.response.status_code"], line["client.ip"]) == (200, "127.0.0.1")
    assert 0 < line["event.duration"] < 60 * 10**9


def test_what_a_request_has_not_is_no_field_of_its_line(world: World) -> None:
    world.session.get(world.url + "/no-such-place")
    wait_for(lambda: "/no-such-place" in world.log.read_text(), 15)
    line = next(json.loads(line) for line in world.log.read_text().splitlines() if "/no-such-place" in line)
    assert line["http.response.status_code"] == 404
    assert "smartfit.upstream" not in line
    assert None not in line.values()


def test_an_account_has_its_own_limit_whatever_its_tokens(world: World) -> None:
    answers = [world.get(world.bearer(sub="greedy", jti=str(number))) for number in range(20)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert answers[0].status_code == 200
    assert refused
    assert refused[0].json()["code"] == "too_many_requests"
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["content-type"] == "application/problem+json"
    # The same address under another account goes on.
    assert world.get(world.bearer(sub="modest")).status_code == 200


def test_slow_service_is_cut_off_at_once_and_the_others_work(world: World) -> None:
    statuses: list[int] = []

    def ask(number: int) -> None:
        answer = requests.get(
            world.url + "/access/v1/stalled", headers=world.bearer(sub=f"s{number}"), verify=world.session.verify
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    # Those beyond the limit are answered while the service still holds the others.
    wait_for(lambda: len(statuses) >= 10, 10)
    assert not world.stalled.is_set()
    assert set(statuses) == {503}
    refused = world.get(world.bearer())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["code"] == "unavailable"
    assert world.session.get(world.url + "/auth/v1/jwks.json").status_code == 200
    world.stalled.set()
    for thread in threads:
        thread.join()
    assert statuses.count(200) >= 1
    assert world.get(world.bearer()).status_code == 200


class Slow:
    """An instance that takes its time and remembers how many requests it had before it at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()
        self.let_go = threading.Event()
        self.backend = Backend(self._answer)

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if "/edge/" in path:
            return 200, {}
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.let_go.wait(20)
        with self._lock:
            self.now -= 1
        return 200, {}


def test_an_instance_has_no_more_before_it_than_it_works_off_and_the_rest_is_refused_at_once(tmp_path: Path) -> None:
    signer = Ed25519PrivateKey.generate()
    auth, instances = Backend(lambda _: (200, {"keys": [jwk(signer, "k1")]})), (Slow(), Slow())
    breaker = Breaker(max_pending_requests=3, host_connections=4)
    gateway = replace(
        gateway_before(
            tmp_path,
            Limits(general=Rate(2000, 2000), account=Rate(2000, 2000)),
            auth=(auth.address,),
            access=tuple(each.backend.address for each in instances),
            platform=(auth.address,),
        ),
        breaker=breaker,
        health={"access": "", GATES: ""},
    )
    process = start(gateway, tmp_path)
    url, answers = f"https://127.0.0.1:{gateway.listen[0].port}/access/v1/x", list[int]()

    def ask() -> None:
        answers.append(
            requests.get(url, headers=bearer(signer), verify=str(authority(tmp_path).chain), timeout=30).status_code
        )

    threads = [threading.Thread(target=ask) for _ in range(40)]
    try:
        for thread in threads:
            thread.start()
        # A worker of Envoy's that has no connection to an instance makes one, whatever the others hold.
        held = 2 * (breaker.host_connections or 0) + breaker.max_pending_requests + 2 * (envoy.workers() - 1)
        wait_for(lambda: len(answers) >= 40 - held, 10, "the rest is refused")
        assert set(answers) == {503}
        # Gate nodes have places of their own.
        node = requests.get(url.replace("/x", "/edge/changes"), verify=str(authority(tmp_path).chain), timeout=5)
        assert node.ok
        assert all(each.most <= 4 + envoy.workers() - 1 for each in instances)
        for each in instances:
            each.let_go.set()
        for thread in threads:
            thread.join(30)
        assert answers.count(200) >= 2 * 4
        assert len(answers) == 40
        assert requests.get(url, headers=bearer(signer), verify=str(authority(tmp_path).chain), timeout=5).ok
    finally:
        for each in instances:
            each.let_go.set()
        process.terminate()
        process.wait(10)
        for backend in (auth, *(each.backend for each in instances)):
            backend.close()
