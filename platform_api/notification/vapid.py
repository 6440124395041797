"""The key by which the sender names itself to push services (VAPID, RFC 8292): P-256, as PEM or as 32 bytes in base64url."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02, b64urldecode, b64urlencode


def signer(value: str) -> Vapid02:
    """What signs with the key.

    Raises:
        ValueError: it is none.
    """
    wrong = "P-256 개인 키가 아닙니다 (no private key of P-256: PEM, or 32 bytes as base64url)"
    key: object = None
    try:
        if "-----BEGIN" in value:
            key = serialization.load_pem_private_key(value.encode(), password=None)
        else:
            raw = b64urldecode(value.encode())
            if len(raw) == 32:
                key = ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    except (ValueError, TypeError) as error:
        raise ValueError(wrong) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError(wrong)
    # Its own check of the subject takes no URL with a path; the setting has one that does.
    return Vapid02(key, conf={"no-strict": True})


def public_key(value: str) -> str:
    """What a page subscribes with, for the private key: the point, uncompressed, in base64url."""
    point = signer(value).public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return str(b64urlencode(point))
