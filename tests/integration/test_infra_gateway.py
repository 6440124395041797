"""The gateway through a real Envoy, with small backends behind it: what gets through, and what each refusal looks like."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.gateway.description import Address, Limits, Rate
from infra.local.certificates import authority
from infra.local.postgres import free_port
from tests.gateway_world import Backend, gateway_before, start


class Running(NamedTuple):
    url: str
    session: requests.Session
    auth: Backend
    access: Backend
    signer: Ed25519PrivateKey
    token: Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    signer = Ed25519PrivateKey.generate()
    public = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(signer.public_key()))
    jwks = {"keys": [{**public, "kid": "k1", "use": "sig", "alg": "EdDSA"}]}
    auth = Backend(lambda path: (200, jwks if path.endswith("jwks.json") else {"path": path}))
    access = Backend(lambda path: (418, {"own": True}) if path.endswith("/teapot") else (200, {"path": path}))
    limits = Limits(
        general=Rate(2000, 2000), sensitive=Rate(1, 5), account=Rate(2000, 2000), max_body_bytes=1024 * 1024
    )
    gateway = gateway_before(
        folder,
        limits,
        auth=(auth.address,),
        access=(access.address,),
        platform=(auth.address,),
        dagster=(access.address,),
    )
    process = start(gateway, folder)

    def token(key: Ed25519PrivateKey = signer, **claims: object) -> dict[str, str]:
        body = {"iss": "smartfit-auth", "aud": "smartfit", "sub": "m1", "exp": int(time.time()) + 60, **claims}
        return {"Authorization": f"Bearer {jwt.encode(body, key, algorithm='EdDSA', headers={'kid': 'k1'})}"}

    session = requests.Session()
    session.trust_env = False
    session.verify = str(authority(folder).chain)
    yield Running(f"https://127.0.0.1:{gateway.listen[0].port}", session, auth, access, signer, token)
    process.terminate()
    assert process.wait(10) is not None
    auth.close()
    access.close()


def _assert_problem(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert any("가" <= letter <= "힣" for letter in body["detail"])
    assert body["detail_en"].isascii()
    # A request refused before it was read has no id.
    assert body["request_id"] == answer.headers.get("x-request-id")
    return body


def test_good_token_passes_and_reaches_the_domain(running: Running) -> None:
    answer = running.session.get(running.url + "/access/v1/branches?limit=3", headers=running.token())
    assert answer.status_code == 200
    assert answer.json() == {"path": "/access/v1/branches?limit=3"}
    headers = running.access.seen[-1][2]
    assert headers["authorization"].startswith("Bearer ")
    assert headers["x-request-id"] == answer.headers["x-request-id"]
    assert headers["x-forwarded-proto"] == "https"


def test_protected_route_without_token(running: Running) -> None:
    answer = running.session.get(running.url + "/access/v1/entries?member_id=1")
    body = _assert_problem(answer, 401, "unauthorized")
    assert body["instance"] == "/access/v1/entries"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("what", ["other key", "none", "expired", "audience", "issuer", "garbage", "no expiry"])
def test_forged_or_stale_token(running: Running, what: str) -> None:
    unsigned = jwt.encode({"iss": "smartfit-auth", "aud": "smartfit", "exp": 9e9}, "", algorithm="none")
    headers = {
        "other key": running.token(Ed25519PrivateKey.generate()),
        "none": {"Authorization": f"Bearer {unsigned}"},
        "expired": running.token(exp=int(time.time()) - 60),
        "audience": running.token(aud="somebody"),
        "issuer": running.token(iss="somebody"),
        "garbage": {"Authorization": "Bearer a.b.c"},
        "no expiry": running.token(exp=None),
    }[what]
    before = len(running.access.seen)
    _assert_problem(running.session.get(running.url + "/access/v1/branches", headers=headers), 401, "unauthorized")
    assert len(running.access.seen) == before


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/",
        "/access",
        "/helper/v1/photos",
        "/auth/internal/v1/templates/1",
        "/access/internal/v1/gallery/identify",
        "/access/internal",
        "/access/v1/../internal/v1/gallery/identify",
        "/access/v1/%2e%2e/internal/v1/gallery/identify",
        "/access//internal/v1/gallery/identify",
        "/metrics",
    ],
)
def test_unknown_and_internal_routes_are_not_found_even_with_a_token(running: Running, path: str) -> None:
    request = requests.Request("GET", running.url, headers=running.token(roles=["service"])).prepare()
    request.url = running.url + path
    before = len(running.access.seen) + len(running.auth.seen)
    _assert_problem(running.session.send(request), 404, "not_found")
    assert len([s for s in running.access.seen + running.auth.seen if not s[1].endswith("jwks.json")]) <= before


def test_hidden_slash_is_refused(running: Running) -> None:
    request = requests.Request("GET", running.url, headers=running.token()).prepare()
    request.url = running.url + "/access/v1/..%2finternal/v1/gallery"
    _assert_problem(running.session.send(request), 400, "bad_request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/v1/jwks.json"),
        ("GET", "/.well-known/jwks.json"),
        ("POST", "/auth/v1/tokens/refresh"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/readyz"),
        ("POST", "/access/v1/edge/entries"),
        ("GET", "/access/v1/edge/changes?cursor="),
    ],
)
def test_public_and_device_routes_need_no_access_token(running: Running, method: str, path: str) -> None:
    # A gate node's own assertion is not an access token; the gateway passes it on for the domain to judge.
    headers = {"Authorization": "Bearer device-assertion"} if "/edge/" in path else {}
    assert running.session.request(method, running.url + path, headers=headers).status_code == 200
    if headers:
        assert running.access.seen[-1][2]["authorization"] == "Bearer device-assertion"


def test_health_of_a_domain_and_of_thegateway_before(running: Running) -> None:
    assert running.session.get(running.url + "/access/readyz").json() == {"path": "/readyz"}
    alive = running.session.get(running.url + "/healthz")
    assert alive.json() == {"service": "gateway", "status": "ok"}


def test_security_headers_on_answers_and_refusals(running: Running) -> None:
    for path in ("/auth/v1/jwks.json", "/nowhere", "/access/v1/branches"):
        headers = running.session.get(running.url + path).headers
        assert headers["strict-transport-security"] == "max-age=300; includeSubDomains"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["server"] == "smartfit"
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]
    assert "content-security-policy" in running.session.get(running.url + "/auth/v1/jwks.json").headers
    assert "content-security-policy" not in running.session.get(running.url + "/docs").headers


def test_an_error_of_a_domain_is_passed_on_untouched(running: Running) -> None:
    answer = running.session.get(running.url + "/access/v1/teapot", headers=running.token())
    assert (answer.status_code, answer.json()) == (418, {"own": True})


def test_too_large_a_body(running: Running) -> None:
    def send(path: str, size: int) -> requests.Response:
        return running.session.post(running.url + path, data=b"x" * size, headers=running.token())

    mib = 1024 * 1024
    _assert_problem(send("/access/v1/memberships", mib + 1), 413, "too_large")
    _assert_problem(send("/access/v1/edge/strangers", 8 * mib + 1), 413, "too_large")
    # Five photographs pass.
    assert send("/auth/v1/members/me/face", 40 * mib).status_code == 200


def test_passwords_cannot_be_tried_quickly(running: Running) -> None:
    answers = [running.session.post(running.url + "/auth/v1/tokens", json={}) for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers[:5]} == {200}
    assert refused
    _assert_problem(refused[-1], 429, "too_many_requests")
    assert refused[-1].headers["retry-after"] == "1"
    # Another route has its own bucket.
    assert running.session.get(running.url + "/auth/v1/jwks.json").status_code == 200


def test_old_tls_is_refused(running: Running, tmp_path: Path) -> None:
    port = running.url.rsplit(":", 1)[1]
    for version, good in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "DEFAULT:@SECLEVEL=0"]
        done = subprocess.run(command, input=b"", capture_output=True)
        assert (done.returncode == 0) is good, version


def test_domain_that_comes_back_within_a_second_costs_no_request(tmp_path: Path) -> None:
    port = free_port()
    away = Address("127.0.0.1", port)
    gateway = gateway_before(tmp_path, Limits(), auth=(away,), access=(away,), platform=(away,))
    process = start(gateway, tmp_path)
    url, verify = f"https://127.0.0.1:{gateway.listen[0].port}", str(authority(tmp_path).chain)
    try:
        answer = requests.post(url + "/auth/v1/tokens/refresh", json={}, verify=verify)
        _assert_problem(answer, 503, "unavailable")
        late: list[Backend] = []
        timer = threading.Timer(0.3, lambda: late.append(Backend(port=port)))
        timer.start()
        answer = requests.post(url + "/auth/v1/tokens/refresh", json={}, verify=verify)
        timer.join()
        late[0].close()
        assert answer.status_code == 200
    finally:
        process.terminate()
        process.wait(10)


def test_instance_that_fails_is_ejected(tmp_path: Path) -> None:
    broken, sound = Backend(lambda path: (200 if path == "/readyz" else 503, {})), Backend()
    gateway = gateway_before(
        tmp_path, Limits(), auth=(broken.address, sound.address), access=(sound.address,), platform=(sound.address,)
    )
    process = start(gateway, tmp_path)
    url, verify = f"https://127.0.0.1:{gateway.listen[0].port}", str(authority(tmp_path).chain)
    try:
        statuses = [
            requests.post(url + "/auth/v1/tokens/refresh", json={}, verify=verify).status_code for _ in range(40)
        ]
        assert 503 in statuses
        assert set(statuses[-15:]) == {200}
    finally:
        process.terminate()
        process.wait(10)
        broken.close()
        sound.close()


def test_pages_without_rights_of_their_own_are_for_operators_only(running: Running) -> None:
    page = running.url + "/dagster/runs"
    member, operator = (running.token(roles=roles) for roles in (["customer", "helper"], ["helper", "operator"]))
    _assert_problem(running.session.get(page), 401, "unauthorized")
    _assert_problem(running.session.get(page, headers=member), 403, "operators_only")
    assert running.session.get(page, headers=operator).json() == {"path": "/dagster/runs"}
    assert "authorization" not in running.access.seen[-1][2]
    forged = running.token(Ed25519PrivateKey.generate(), roles=["operator"])
    _assert_problem(running.session.get(page, headers=forged), 401, "unauthorized")
    assert running.session.get(running.url + "/dagster", headers=operator).status_code == 200
    _assert_problem(running.session.get(running.url + "/dagsterx", headers=operator), 404, "not_found")


def test_a_browser_logs_in_by_cookie_there_and_nowhere_else(running: Running) -> None:
    token = running.token(roles=["operator"])["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"__Secure-smartfit-operator={token}"}
    assert running.session.get(running.url + "/dagster/runs", headers=cookie).status_code == 200
    _assert_problem(running.session.get(running.url + "/access/v1/branches", headers=cookie), 401, "unauthorized")
    html = {"Accept": "text/html,application/xhtml+xml"}
    sent = running.session.get(running.url + "/dagster/runs", headers=html, allow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/app/login?next=/dagster")
    elsewhere = running.session.get(running.url + "/access/v1/branches", headers=html, allow_redirects=False)
    assert elsewhere.status_code == 401
