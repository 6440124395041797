"""Push subscriptions of browsers (RFC 8030): what is one, and which push services are called.

The endpoint is a URL that the browser names and that our sender calls, so it must lead to a push service and nowhere else:
the setting SMARTFIT_WEBPUSH_HOSTS lists them. What the expression does not take, no two programs can read differently.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

WELL_KNOWN = (
    "fcm.googleapis.com,updates.push.services.mozilla.com,*.push.services.mozilla.com,web.push.apple.com,"
    "*.push.apple.com,*.notify.windows.com"
)
LONGEST = 2048
_ENDPOINT = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*"
)
_ENTRY = re.compile(r"(\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?")


@dataclass(frozen=True)
class Subscription:
    """Where a browser takes messages, and the keys by which it alone can read them (RFC 8291)."""

    endpoint: str
    p256dh: str
    auth: str

    def text(self) -> str:
        """As it is kept, sealed."""
        return json.dumps({"endpoint": self.endpoint, "keys": {"p256dh": self.p256dh, "auth": self.auth}})


def hosts(value: str) -> tuple[str, ...]:
    """The push services in a comma-separated list: `host`, `*.domain`, with `:port` where it is not 443.

    Raises:
        ValueError: names what is none.
    """
    found = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    for entry in found:
        if not _ENTRY.fullmatch(entry):
            raise ValueError(f"{entry}: 호스트 이름이 아닙니다. 예: fcm.googleapis.com,*.push.apple.com (no host name)")
    return found


def service_of(endpoint: str, allowed: tuple[str, ...]) -> str | None:
    """The entry of the list that an endpoint belongs to; None where it may not be called."""
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None or len(endpoint) > LONGEST:
        return None
    port = match["port"] or "443"
    for entry in allowed:
        host, _, entry_port = entry.partition(":")
        if (entry_port or "443") != port:
            continue
        below = host.startswith("*.") and match["host"].endswith(host[1:])
        if match["host"] == host or below:
            return entry
    return None


def read(said: Mapping[str, Any]) -> Subscription:
    """What a browser's PushSubscription.toJSON() says, with its keys in one form.

    Raises:
        ValueError: a key is none: p256dh is a point of P-256, auth 16 bytes (RFC 8291, section 3).
    """
    keys = said["keys"]
    point, secret = _bytes(keys["p256dh"]), _bytes(keys["auth"])
    if len(point) != 65:
        raise ValueError("p256dh")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    if len(secret) != 16:
        raise ValueError("auth")
    return Subscription(said["endpoint"], _text(point), _text(secret))


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("base64url") from error


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
