"""Lockout after misses, and passes that open and those that do not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from access_edge.lockout import Lockouts
from access_edge.qr import KeyUnknown, Pass, PassRefused, public_key, verify
from access_edge.records import Lockout, QrKey

RULE = Lockout(misses=5, window_s=60, block_s=30)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_five_misses_in_a_minute_pause_one_gate_for_half_a_minute() -> None:
    clock = Clock()
    lockouts = Lockouts(clock)
    assert [lockouts.miss("g1", RULE) for _ in range(5)] == [False] * 4 + [True]
    assert lockouts.remaining("g1", RULE) == 30
    assert lockouts.remaining("g2", RULE) == 0
    clock.now += 29.9
    assert lockouts.remaining("g1", RULE) > 0
    clock.now += 0.1
    assert lockouts.remaining("g1", RULE) == 0
    # It starts counting anew.
    assert not lockouts.miss("g1", RULE)


def test_misses_spread_over_more_than_the_window_do_not_pause() -> None:
    clock = Clock()
    lockouts = Lockouts(clock)
    for _ in range(20):
        assert not lockouts.miss("g1", RULE)
        clock.now += 15.1


def test_a_gate_without_lockout_is_never_paused() -> None:
    lockouts = Lockouts(Clock())
    rule = Lockout(enabled=False)
    assert not any(lockouts.miss("g1", rule) for _ in range(100))
    assert lockouts.remaining("g1", rule) == 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_a_pause_starts_exactly_when_the_window_holds_enough_misses(gaps: list[float]) -> None:
    clock = Clock()
    lockouts = Lockouts(clock)
    seen: list[float] = []
    for gap in gaps:
        clock.now += gap
        seen = [at for at in [*seen, clock.now] if at > clock.now - RULE.window_s]
        paused = len(seen) >= RULE.misses
        assert lockouts.miss("g1", RULE) is paused
        if paused:
            seen = []


NOW = datetime(2026, 6, 10, 10, 30, tzinfo=UTC)
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def find(kid: str) -> QrKey | None:
    return (
        QrKey(kid=kid, public_key=base64.b64encode(KEY.public_key().public_bytes_raw()).decode())
        if kid == "k1"
        else None
    )


def token(key: Any = KEY, kid: str | None = "k1", algorithm: str = "EdDSA", drop: str = "", **claims: Any) -> str:
    issued = int(NOW.timestamp())
    document = {
        "typ": "gate-pass",
        "sub": "m1",
        "branch_id": "b1",
        "jti": "j1",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 30,
    } | claims
    document.pop(drop, None)
    return jwt.encode(document, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def test_a_good_pass_names_its_member() -> None:
    assert verify(token(), "b1", NOW, find) == Pass("m1", "j1", NOW + timedelta(seconds=32))


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (token(branch_id="b2"), "qr_wrong_branch"),
        (token(nbf=int(NOW.timestamp()) + 3600, exp=int(NOW.timestamp()) + 3630), "qr_not_yet_valid"),
        (token(nbf=int(NOW.timestamp()) - 3600, exp=int(NOW.timestamp()) - 3570), "qr_expired"),
        (token(OTHER), "qr_forged"),
        (token(typ="access"), "qr_forged"),
        (token(sub=""), "qr_forged"),
        (token(sub=7), "qr_forged"),
        (token(exp=int(NOW.timestamp()) + 86400), "qr_forged"),
        (token(exp="soon"), "qr_forged"),
        (token(drop="jti"), "qr_forged"),
        (token(drop="nbf"), "qr_forged"),
        (token(kid=None), "qr_forged"),
        (token("secret-secret-secret-secret-secret", algorithm="HS256"), "qr_forged"),
        (token(None, algorithm="none"), "qr_forged"),
        ("not a token", "qr_forged"),
        ("a.b.c", "qr_forged"),
        ("", "qr_forged"),
        ("x" * 10_000, "qr_forged"),
    ],
)
def test_passes_that_do_not_open(given_: str, reason: str) -> None:
    with pytest.raises(PassRefused) as refused:
        verify(given_, "b1", NOW, find)
    assert refused.value.reason == reason


def test_a_changed_claim_is_a_forgery() -> None:
    header, body, signature = token().split(".")
    changed = (
        base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"m1"', b'"m2"')).decode().rstrip("=")
    )
    with pytest.raises(PassRefused, match="qr_forged"):
        verify(f"{header}.{changed}.{signature}", "b1", NOW, find)


def test_an_unknown_key_id_is_told_apart_so_that_the_feed_may_be_asked() -> None:
    with pytest.raises(KeyUnknown):
        verify(token(kid="k2"), "b1", NOW, find)


@pytest.mark.parametrize("seconds", [-2, 0, 29, 31])
def test_a_pass_opens_within_its_life_and_a_small_leeway(seconds: int) -> None:
    assert verify(token(), "b1", NOW + timedelta(seconds=seconds), find).member_id == "m1"


@pytest.mark.parametrize(("seconds", "reason"), [(-3, "qr_not_yet_valid"), (32, "qr_expired"), (3600, "qr_expired")])
def test_a_pass_does_not_open_outside_it(seconds: int, reason: str) -> None:
    with pytest.raises(PassRefused, match=reason):
        verify(token(), "b1", NOW + timedelta(seconds=seconds), find)


def test_keys_come_raw_or_as_pem_and_nothing_else_is_one() -> None:
    raw = KEY.public_key().public_bytes_raw()
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="), pem.decode()):
        assert public_key(text).public_bytes_raw() == raw
    rsa = generate_private_key(65537, 2048).public_key()
    rsa_pem = rsa.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    for text in ("", "AAAA", "-----BEGIN nothing", rsa_pem):
        with pytest.raises(ValueError):
            public_key(text)
