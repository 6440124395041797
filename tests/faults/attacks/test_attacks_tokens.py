"""Games with tokens: each is refused at every door, and what a token of the platform does not say cannot be added to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from platform_api.access import qr
from platform_api.core import clock
from platform_api.core.models import new_id
from platform_api.core.security import tokens
from tests.contract_document import NAMES, OPERATIONS
from tests.contract_examples import options, put
from tests.contract_values import CARD, PASSWORD
from tests.contract_world import World
from tests.faults.attacks.ownership import path_parameters
from tests.faults.attacks.tally import Tally
from tests.results import full

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
PART = "tokens"
BAR = "forged, stale, foreign, ended and borrowed tokens open no door"
# A door of each domain that an operator has.
DOORS = [
    "/auth/v1/members", "/access/v1/gates", "/helper/v1/ledger/trial-balance", "/search/v1/index", "/branch/v1/tasks",
    "/monitoring/v1/equipment", "/notification/v1/deliveries", "/mlops/v1/models",
]  # fmt: skip


def encoded(part: Any) -> str:
    """A part of a JWS."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """A token that no library would make: any header, signed by HMAC, or not at all."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest()) if secret else ''}"


def claims(**changed: Any) -> dict[str, Any]:
    """Of an operator's token, as auth makes them; None: left out."""
    now = int(clock.now().timestamp())
    made = {
        "sub": new_id(), "iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "iat": now, "nbf": now, "exp": now + 600, "jti": new_id(),
        "type": "access", "fresh": False, "roles": ["operator"], "branch_ids": [],
    }  # fmt: skip
    return {name: value for name, value in {**made, **changed}.items() if value is not None}


def forged(key: Any, kid: str) -> Iterator[tuple[str, str]]:
    """Tokens that nobody of the platform made, by the trick that they try."""
    public = key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    other, now = Ed25519PrivateKey.generate(), int(clock.now().timestamp())
    for alg in ("none", "None", "NONE", "nOnE", ""):
        yield f"alg {alg or 'empty'}", by_hand({"alg": alg, "kid": kid, "typ": "JWT"}, claims())
    for name, secret in (("PEM", pem), ("raw key", raw), ("base64", base64.b64encode(raw))):
        yield (
            f"public key as HMAC secret ({name})",
            by_hand({"alg": "HS256", "kid": kid, "typ": "JWT"}, claims(), secret),
        )
    yield "empty HMAC secret", by_hand({"alg": "HS256", "kid": kid}, claims(), b"\0")
    yield "RSA", jwt.encode(claims(), rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": kid})
    yield "another key under a known kid", jwt.encode(claims(), other, "EdDSA", headers={"kid": kid})
    yield "no kid", jwt.encode(claims(), other, "EdDSA")
    for strange in (
        "nobody",
        "",
        "../../../../etc/passwd",
        f"../{kid}",
        f"{kid}\0",
        f"{kid}.pem",
        "/dev/null",
        "' OR '1'='1",
        "a" * 5_000,
    ):
        yield "a kid that leads elsewhere", jwt.encode(claims(), other, "EdDSA", headers={"kid": strange})
    for odd in (None, 1, ["a"], {"a": 1}):
        yield "a kid that is no text", by_hand({"alg": "EdDSA", "kid": odd}, claims(), b"x")
    # Where the key is to be found, says the token itself (RFC 7515, 4.1): never believed.
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(other.public_key()))
    for word, value in (
        ("jwk", jwk),
        ("jku", "https://127.0.0.1:9/jwks.json"),
        ("x5u", "https://127.0.0.1:9/x.pem"),
        ("crit", ["exp"]),
    ):
        yield f"header {word}", jwt.encode(claims(), other, "EdDSA", headers={"kid": kid, word: value})
    own = {"headers": {"kid": kid}}
    yield "expired", jwt.encode(claims(exp=now - 60), key, "EdDSA", **own)
    yield "not yet valid", jwt.encode(claims(nbf=now + 600), key, "EdDSA", **own)
    yield "issued in the future", jwt.encode(claims(iat=now + 600, nbf=now + 600), key, "EdDSA", **own)
    yield "no end", jwt.encode(claims(exp=None), key, "EdDSA", **own)
    for word, values in (
        ("iss", ("elsewhere", None, [tokens.ISSUER])),
        ("aud", ("elsewhere", "smartfit-access", None)),
    ):
        for value in values:
            try:
                yield f"another {word}", jwt.encode(claims(**{word: value}), key, "EdDSA", **own)
            except TypeError:
                continue
    yield "a refresh token of the library", jwt.encode(claims(type="refresh"), key, "EdDSA", **own)
    yield "no subject", jwt.encode(claims(sub=None), key, "EdDSA", **own)
    good = jwt.encode(claims(), key, "EdDSA", **own)
    head, _, signature = good.split(".")
    yield "claims exchanged under a signature", f"{head}.{encoded(claims(roles=['operator', 'service']))}.{signature}"
    yield (
        "signature of another token",
        f"{'.'.join(good.split('.')[:2])}.{jwt.encode(claims(), key, 'EdDSA', **own).split('.')[2]}",
    )
    yield "no signature", f"{'.'.join(good.split('.')[:2])}."
    yield "cut", good[:-8]


@pytest.fixture(scope="module")
def signing(world: World) -> tuple[str, Any]:
    """The key that auth signs with, for tokens that are wrong in one thing only."""
    with world.app.app_context():
        kid, key = tokens.key_set().signing_key()
    return kid, key


def test_a_good_token_made_this_way_opens(world: World, signing: tuple[str, Any]) -> None:
    """What is refused below is refused for its one fault."""
    kid, key = signing
    good = {"Authorization": f"Bearer {jwt.encode(claims(), key, 'EdDSA', headers={'kid': kid})}"}
    for door in DOORS:
        assert world.client.get(door, headers=good).status_code == 200, door


def test_forged_and_stale_tokens(world: World, signing: tuple[str, Any], tally: Tally) -> None:
    kid, key = signing
    for kind, token in forged(key, kid):
        for door in DOORS if full() else DOORS[:2]:
            answer = world.client.get(door, headers={"Authorization": f"Bearer {token}"})
            tally.judge(kind, answer.status_code == 401, f"{door}: {answer.status_code} {answer.text[:200]}")
    tally.check()


def test_claims_of_another_kind_give_no_rights(world: World, signing: tuple[str, Any], tally: Tally) -> None:
    """Signed by auth, but not as auth writes roles: what is no list of roles is none."""
    kid, key = signing
    for roles in (
        "operator",
        {"operator": True},
        [["operator"]],
        [],
        None,
        ["Operator"],
        ["operator "],
        ["*"],
        [None],
        1,
    ):
        token = jwt.encode(claims(roles=roles), key, "EdDSA", headers={"kid": kid})
        answer = world.client.get(DOORS[0], headers={"Authorization": f"Bearer {token}"})
        tally.judge(
            "odd roles", answer.status_code in (401, 403), f"{roles!r}: {answer.status_code} {answer.text[:200]}"
        )
    tally.check()


def someone(world: World, number: int) -> dict[str, Any]:
    """A member who was just registered, and signed in."""
    email = f"token{number}@example.com"
    wanted = {
        "email": email, "password": PASSWORD, "name": "김하늘", "phone": "+82 10-1234-5678", "birth_date": "1995-04-12", "card": CARD,
    }  # fmt: skip
    # From elsewhere: this machine's own address may have guessed too often in other tests.
    place = {"REMOTE_ADDR": f"198.19.0.{number + 1}"}
    made = world.client.post("/auth/v1/members", json=wanted, environ_base=place)
    assert made.status_code == 201, made.text
    signed = world.client.post("/auth/v1/tokens", json={"email": email, "password": PASSWORD}, environ_base=place).json
    return {**signed, "email": email, "headers": {"Authorization": f"Bearer {signed['access_token']}"}}


def test_what_ended_is_over(world: World, tally: Tally) -> None:
    """Signed out, another password, suspended, other roles, erased, a refresh token that was used twice."""

    def end(member: dict[str, Any], how: str) -> None:
        one = f"/auth/v1/members/{member['member_id']}"
        client = world.client
        if how == "signed out":
            assert (
                client.post("/auth/v1/tokens/revoke", json={"refresh_token": member["refresh_token"]}).status_code
                == 204
            )
        elif how == "new password":
            said = {"current_password": PASSWORD, "new_password": PASSWORD + "-neu"}
            assert client.put(f"{one}/password", headers=member["headers"], json=said).status_code == 204
        elif how == "suspended":
            world.call("operator", "PUT", f"{one}/status", json={"status": "suspended", "reason": "x"})
        elif how == "other roles":
            world.call("operator", "PUT", f"{one}/roles", json={"roles": ["helper"], "branch_ids": []})
        elif how == "erased":
            assert client.delete(one, headers=member["headers"]).status_code == 204
        elif how == "refreshed twice":
            for _ in range(2):
                client.post("/auth/v1/tokens/refresh", json={"refresh_token": member["refresh_token"]})

    for number, how in enumerate(
        ("signed out", "new password", "suspended", "other roles", "erased", "refreshed twice")
    ):
        member = someone(world, number)
        doors = ("/auth/v1/members/me", "/notification/v1/devices", "/access/v1/memberships")
        for door in doors:
            assert world.client.get(door, headers=member["headers"]).status_code == 200
        end(member, how)
        for door in doors:
            answer = world.client.get(door, headers=member["headers"])
            tally.judge(f"access token: {how}", answer.status_code == 401, f"{door}: {answer.status_code}")
        # A new role is no new login: only then the refresh token goes on, into a token with the new roles.
        if how != "other roles":
            again = world.client.post("/auth/v1/tokens/refresh", json={"refresh_token": member["refresh_token"]})
            tally.judge(
                f"refresh token: {how}", again.status_code in (401, 403), f"{again.status_code} {again.text[:100]}"
            )
    tally.check()


def test_a_token_is_good_for_its_own_purpose_alone(world: World, signing: tuple[str, Any], tally: Tally) -> None:
    """Refresh tokens, passes, assertions and client secrets are no access tokens, and the other way round."""
    kid, key = signing
    member = someone(world, 20)
    passed = world.call("customer", "POST", "/access/v1/qr-passes", json={"branch_id": "gangnam"})["token"]
    access = member["access_token"]
    for kind, token in (
        ("refresh token", member["refresh_token"]),
        ("pass", passed),
        ("assertion", world.headers("device")["Authorization"][7:]),
    ):
        for door in ("/auth/v1/members/me", "/access/v1/memberships", "/notification/v1/devices"):
            answer = world.client.get(door, headers={"Authorization": f"Bearer {token}"})
            tally.judge(f"{kind} as access token", answer.status_code == 401, f"{door}: {answer.status_code}")
    for kind, token in (
        ("access token", access),
        ("pass", passed),
        ("operator's token", world.headers("operator")["Authorization"][7:]),
    ):
        answer = world.client.get("/access/v1/edge/changes?limit=10", headers={"Authorization": f"Bearer {token}"})
        tally.judge(f"{kind} as assertion", answer.status_code == 401, str(answer.status_code))
    # Signed by auth's key, but addressed as an assertion is.
    now = int(clock.now().timestamp())
    said = {
        "iss": world.edge_id,
        "sub": world.edge_id,
        "aud": "smartfit-access",
        "jti": new_id(),
        "iat": now,
        "exp": now + 60,
    }
    answer = world.client.get(
        "/access/v1/edge/changes",
        headers={"Authorization": f"Bearer {jwt.encode(said, key, 'EdDSA', headers={'kid': kid})}"},
    )
    tally.judge("assertion by auth's key", answer.status_code == 401, str(answer.status_code))
    for kind, token in (("access token", access), ("pass", passed)):
        answer = world.client.post("/auth/v1/tokens/refresh", json={"refresh_token": token})
        tally.judge(f"{kind} as refresh token", answer.status_code in (401, 422), str(answer.status_code))
    # Not in a header: neither in the query nor in a cookie.
    for options_ in (
        {"query_string": {"jwt": access, "access_token": access}},
        {"headers": {"Cookie": f"access_token_cookie={access}; jwt={access}"}},
    ):
        answer = world.client.get("/auth/v1/members/me", **options_)
        tally.judge("access token elsewhere", answer.status_code == 401, str(answer.status_code))
    tally.check()


def test_an_assertion_is_good_once_and_on_the_nodes_routes_alone(world: World, tally: Tally) -> None:
    used = world.headers("device")
    assert world.client.get("/access/v1/edge/changes?limit=10", headers=used).status_code == 200
    for _ in range(3):
        answer = world.client.get("/access/v1/edge/changes?limit=10", headers=used)
        tally.judge("assertion used again", answer.status_code == 401, str(answer.status_code))
    for name in NAMES:
        if (
            {"device": []} in OPERATIONS[name]["security"]
            or not OPERATIONS[name]["security"]
            or {} in OPERATIONS[name]["security"]
        ):
            continue
        method, path = name.split(" ", 1)
        url = put(path, dict.fromkeys(path_parameters(name), new_id()))
        answer = world.client.open(url, method=method, headers=world.headers("device"), **options(name, world))
        tally.judge("assertion at other doors", answer.status_code == 401, f"{name}: {answer.status_code}")
    tally.check()


def test_a_service_has_the_rights_of_a_service_alone(world: World, tally: Tally) -> None:
    """Its token opens what names services and nothing that people alone may do."""
    service = world.headers("service")
    for name in NAMES:
        ways = [role for way in OPERATIONS[name]["security"] for role in way.get("bearer", ())]
        if not ways or "service" in ways:
            continue
        method, path = name.split(" ", 1)
        url = put(path, dict.fromkeys(path_parameters(name), new_id()))
        answer = world.client.open(url, method=method, headers=service, **options(name, world))
        tally.judge("service at people's doors", answer.status_code == 403, f"{name}: {answer.status_code}")
    for wrong in (
        {"client_secret": "x" * 40},
        {"client_id": "auth"},
        {"client_id": "operator"},
        {"client_id": "op@example.com", "client_secret": PASSWORD},
    ):
        said = {**{word: values[0] for word, values in world.values["/auth/v1/service-tokens"].items()}, **wrong}
        answer = world.client.post("/auth/v1/service-tokens", json=said)
        tally.judge("another's client secret", answer.status_code in (401, 429), str(answer.status_code))
    tally.check()


def test_a_pass_is_of_the_gates_key_and_not_of_auths(world: World) -> None:
    """Keys are apart: whoever has one kind of token cannot make the other."""
    passed = world.call("customer", "POST", "/access/v1/qr-passes", json={"branch_id": "gangnam"})["token"]
    said = jwt.decode(passed, options={"verify_signature": False})
    assert said["typ"] == qr.TYPE
    assert said["exp"] - said["iat"] == 30
    known = {key["kid"] for key in world.client.get("/auth/v1/jwks.json").json["keys"]}
    assert jwt.get_unverified_header(passed)["kid"] not in known
