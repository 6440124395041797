"""Requests are whole: one transaction, done once under a key, only for those who may, with forged tokens refused."""

import base64
import json
import threading
import time
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, jsonify
from flask.testing import FlaskClient
from sqlalchemy import func, select

from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem, register_error_handlers
from platform_api.core.models import AuditRecord
from platform_api.core.pagination import page
from platform_api.core.security import audit, keys, principal, require, same_member, tokens
from platform_api.core.web import Api, blueprint, current_session, register_backend_errors, transaction


@pytest.fixture
def app(fresh_databases: object, keys: object) -> Iterator[Flask]:
    app = Flask("core-test")
    app.config.update(API_TITLE="t", API_VERSION="v1", OPENAPI_VERSION="3.1.0", PROPAGATE_EXCEPTIONS=False)
    register_error_handlers(app)
    register_backend_errors(app)
    tokens.init_app(app)
    blp = blueprint("things", "/things", "for tests")
    app.config["gate"] = threading.Event()
    app.config["gate"].set()

    @blp.post("/<name>")
    @require("customer", "operator")
    @transaction("auth", idempotent=True)
    @blp.response(201)
    def make(name: str) -> dict[str, str]:
        audit.record(current_session(), principal().id, "thing.made", name)
        current_session().flush()
        app.config["gate"].wait(5)
        if name == "refused":
            raise Problem(409)
        if name == "counted":
            raise Problem(401, commit=True)
        return {"name": name, "by": principal().id}

    @app.get("/members/<member_id>")
    @require()
    def member(member_id: str) -> object:
        same_member(member_id)
        return jsonify(ok=True)

    Api(app).register_blueprint(blp)
    yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def _made() -> int:
    with unit_of_work("auth") as session:
        return session.scalar(select(func.count()).select_from(AuditRecord)) or 0


def test_the_same_key_is_done_once_and_answered_twice(client: FlaskClient, token_for: object) -> None:
    headers = {**token_for("m1", "customer"), "Idempotency-Key": "k-1"}
    first = client.post("/things/a", headers=headers)
    again = client.post("/things/a", headers=headers)
    assert (first.status_code, again.status_code, first.json) == (201, 201, again.json)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert _made() == 1


def test_a_key_belongs_to_one_request_of_one_caller(client: FlaskClient, token_for: object) -> None:
    mine = {**token_for("m1", "customer"), "Idempotency-Key": "k-1"}
    theirs = {**token_for("m2", "customer"), "Idempotency-Key": "k-1"}
    client.post("/things/a", headers=mine)
    other = client.post("/things/b", headers=mine)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert client.post("/things/a", headers=theirs).json["by"] == "m2"
    assert client.post("/things/a", headers={**mine, "Idempotency-Key": "x" * 129}).status_code == 400


def test_two_at_once_with_one_key_are_done_once(app: Flask, token_for: object) -> None:
    headers = {**token_for("m1", "customer"), "Idempotency-Key": "k-1"}
    app.config["gate"].clear()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(app.test_client().post("/things/a", headers=headers)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    app.config["gate"].set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False, True]
    assert _made() == 1


def test_refused_request_leaves_nothing_and_frees_its_key(client: FlaskClient, token_for: object) -> None:
    headers = {**token_for("m1", "customer"), "Idempotency-Key": "k-1"}
    assert client.post("/things/refused", headers=headers).status_code == 409
    assert _made() == 0
    assert client.post("/things/fine", headers=headers).status_code == 201


def test_counters_can_be_kept_though_the_request_is_refused(client: FlaskClient, token_for: object) -> None:
    assert client.post("/things/counted", headers=token_for("m1", "customer")).status_code == 401
    assert _made() == 1


def test_roles_and_objects_are_checked(client: FlaskClient, token_for: object) -> None:
    assert client.post("/things/a").json["code"] == "token_missing"
    assert client.post("/things/a", headers=token_for("h1", "helper")).status_code == 403
    assert client.get("/members/m1", headers=token_for("m1", "customer")).status_code == 200
    assert client.get("/members/m1", headers=token_for("m2", "customer")).status_code == 404
    assert client.get("/members/m1", headers=token_for("op", "operator")).status_code == 200


def _encode(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_forged_tokens_are_refused(app: Flask, keys: object) -> None:
    with app.app_context():
        kid, key = tokens.key_set().signing_key()
        good = tokens.issue_access_token("m1", ["customer"])
    now = int(time.time())
    claims = {"sub": "m1", "iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "iat": now, "nbf": now, "exp": now + 60,
              "jti": "1", "type": "access", "fresh": False, "roles": ["operator"]}  # fmt: skip
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = {
        "other key": jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": kid}),
        "unknown kid": jwt.encode(claims, key, "EdDSA", headers={"kid": "nobody"}),
        "expired": jwt.encode({**claims, "exp": now - 60}, key, "EdDSA", headers={"kid": kid}),
        "other audience": jwt.encode({**claims, "aud": "elsewhere"}, key, "EdDSA", headers={"kid": kid}),
        "other issuer": jwt.encode({**claims, "iss": "elsewhere"}, key, "EdDSA", headers={"kid": kid}),
        "alg none": f"{_encode({'alg': 'none', 'kid': kid})}.{_encode(claims)}.",
        "public key as HMAC secret": _hmac(claims, kid, public),
        "cut": good[:-4],
        "no token": "x",
    }
    client = app.test_client()
    for name, token in forged.items():
        answer = client.get("/members/m1", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.content_type) == (401, "application/problem+json"), name
    assert client.get("/members/m1", headers={"Authorization": f"Bearer {good}"}).status_code == 200


def _hmac(claims: dict[str, object], kid: str, secret: bytes) -> str:
    import hashlib
    import hmac

    body = f"{_encode({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_encode(claims)}"
    mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_token_keys_rotate_without_a_restart(tmp_path: object) -> None:
    folder = tmp_path / "jwt"
    old = keys.generate(folder)
    ring = keys.KeySet(folder)
    assert ring.signing_key()[0] == old
    new = keys.generate(folder)
    ring._checked = float("-inf")
    ring.jwks()
    ring._made[old] = 0.0
    # Published at once, used only when everybody has had time to fetch it.
    assert ring.signing_key()[0] == old
    ring._made[new] = 0.0
    assert ring.signing_key()[0] == new
    assert {jwk["kid"] for jwk in ring.jwks()["keys"]} == {old, new}
    assert keys.from_jwk(ring.jwks()["keys"][0]) == ring.public_key(old)
    (folder / f"{old}.pem").unlink()
    ring._checked = float("-inf")
    with pytest.raises(keys.UnknownKey):
        ring.public_key(old)


def test_pages_neither_skip_nor_repeat(fresh_databases: object) -> None:
    with unit_of_work("auth") as session:
        for n in range(7):
            audit.record(session, "a", "x", str(n))
    seen, cursor = [], None
    with unit_of_work("auth") as session:
        for _ in range(4):
            rows, cursor = page(session, select(AuditRecord), [AuditRecord.at, AuditRecord.position], cursor, 3)
            seen += [row.target for row in rows]
            if len(seen) == 3:
                audit.record(session, "a", "x", "late")
                session.flush()
            if cursor is None:
                break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]
    with pytest.raises(Problem, match="bad_cursor"), unit_of_work("auth") as session:
        page(session, select(AuditRecord), [AuditRecord.position], "garbage", 3)
