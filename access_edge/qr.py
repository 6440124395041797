"""QR passes, verified without the network: a signature by one of the centre's keys, a branch, thirty seconds.

That a pass is used once is not decided here but where it is logged (`Ledger.use_pass`), in the entry's transaction.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from access_edge.records import QrKey

TYPE = "gate-pass"
# Between the clock of the issuer and the one learnt from it.
LEEWAY = timedelta(seconds=2)
# No pass of the centre lives longer; one that claims to is not the centre's.
LONGEST_LIFE = timedelta(minutes=2)
MAX_TOKEN = 4096


class PassRefused(Exception):
    """The pass does not open the gate; `reason` is the code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class KeyUnknown(Exception):
    """No key of this node has the pass's key id."""


@dataclass(frozen=True)
class Pass:
    """A genuine pass: whose, which, and from when on it is worthless."""

    member_id: str
    jti: str
    expires_at: datetime


def verify(token: str, branch_id: str, now: datetime, find_key: Callable[[str], QrKey | None]) -> Pass:
    """The pass in `token`, for branch `branch_id`, at the aware moment `now`.

    Raises:
        PassRefused: qr_forged, qr_wrong_branch, qr_not_yet_valid or qr_expired.
        KeyUnknown: it may be genuine, by a key that is not known here (yet).
    """
    if len(token) > MAX_TOKEN:
        raise PassRefused("qr_forged")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError as error:
        raise PassRefused("qr_forged") from error
    if not isinstance(kid, str) or not kid:
        raise PassRefused("qr_forged")
    key = find_key(kid)
    if key is None:
        raise KeyUnknown(kid)
    claims = _claims(token, key)
    if claims.get("branch_id") != branch_id:
        raise PassRefused("qr_wrong_branch")
    valid_from, expires_at = _moment(claims["nbf"]), _moment(claims["exp"])
    if expires_at - valid_from > LONGEST_LIFE:
        raise PassRefused("qr_forged")
    if now < valid_from - LEEWAY:
        raise PassRefused("qr_not_yet_valid")
    if now >= expires_at + LEEWAY:
        raise PassRefused("qr_expired")
    return Pass(claims["sub"], claims["jti"], expires_at + LEEWAY)


def public_key(text: str) -> Ed25519PublicKey:
    """An Ed25519 public key from base64 of its 32 bytes, or from PEM. Raises ValueError for what is neither."""
    try:
        if text.startswith("-----BEGIN"):
            key = serialization.load_pem_public_key(text.encode())
        else:
            raw = text + "=" * (-len(text) % 4)
            key = Ed25519PublicKey.from_public_bytes(
                base64.b64decode(raw, altchars=b"-_" if set("-_") & set(raw) else None)
            )
    except (binascii.Error, UnsupportedAlgorithm, ValueError) as error:
        raise ValueError("not an Ed25519 public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")
    return key


def _claims(token: str, key: QrKey) -> dict[str, Any]:
    """The signed claims; times are judged by the caller, who knows the centre's clock."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, public_key(key.public_key), algorithms=["EdDSA"],
            options={
                "require": ["sub", "jti", "iat", "nbf", "exp"], "verify_exp": False, "verify_nbf": False,
                "verify_iat": False, "verify_aud": False, "verify_iss": False,
            },
        )  # fmt: skip
    except (jwt.InvalidTokenError, ValueError) as error:
        raise PassRefused("qr_forged") from error
    texts = all(isinstance(claims[name], str) and claims[name] for name in ("sub", "jti"))
    numbers = all(isinstance(claims[name], int) and 0 < claims[name] < 2**33 for name in ("iat", "nbf", "exp"))
    if claims.get("typ") != TYPE or not texts or not numbers:
        raise PassRefused("qr_forged")
    return claims


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
