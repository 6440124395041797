"""How a push service knows who sends: VAPID (RFC 8292), `Authorization: vapid t=JWT, k=KEY`."""

import base64
import binascii
import re
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

LONGEST_S = 86400
_HEADER = re.compile(r"vapid\s+(?=.*\bt=(?P<t>[\w.-]+))(?=.*\bk=(?P<k>[\w-]+)).*", re.IGNORECASE)


class Denied(Exception):
    """The sender is not who may send: 401 nobody, 403 another than the browser subscribed to."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def admit(authorization: str, origin: str, expected: str | None) -> dict[str, Any]:
    """The claims of the sender who has signed for `origin`, with the key that the subscription was made for.

    Raises:
        Denied: see there.
    """
    match = _HEADER.fullmatch(authorization)
    if match is None:
        raise Denied(401, "Authorization: vapid t=..., k=...")
    if expected is not None and match["k"] != expected:
        raise Denied(403, "the credentials are not those used to create the subscription")
    try:
        point = base64.urlsafe_b64decode(match["k"] + "=" * (-len(match["k"]) % 4))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        claims: dict[str, Any] = jwt.decode(
            match["t"], key, algorithms=["ES256"], audience=origin, options={"require": ["aud", "exp", "sub"]}
        )
    except (jwt.PyJWTError, ValueError, binascii.Error) as error:
        raise Denied(403, f"{type(error).__name__}: {error}") from None
    if claims["exp"] > time.time() + LONGEST_S:
        raise Denied(403, "exp lies more than 24 hours ahead")
    return claims
