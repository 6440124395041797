"""A kiosk's browser is set up once with its key and carries a cookie from then on.

The cookie holds the hash of the key, sealed by this node and bound to the gate: it outlives a restart, cannot be made
elsewhere, and is worth nothing once the gate has another key. Scripts cannot read it, other pages cannot send it.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from flask import Response, g, request

from access_edge.kiosk import gate_by_key, node, own_gate, refused
from access_edge.records import Gate
from platform_api.core.encryption import DecryptionError
from platform_api.core.errors import Problem

COOKIE = "smartfit-kiosk"
# The longest that browsers keep a cookie; it is renewed each time the page is loaded.
LIFE_S = 400 * 24 * 3600


def begin(gate_id: str, key: str, answer: Response) -> None:
    """Let this browser speak for the gate whose key it has. Raises Problem as `gate_by_key`."""
    renew(gate_by_key(gate_id, key), answer)


def renew(gate: Gate, answer: Response) -> None:
    """Set the cookie on `answer`."""
    sealed = node().envelope.seal(gate.kiosk_key_sha256.encode(), _context(gate.gate_id))
    answer.set_cookie(
        COOKIE, base64.urlsafe_b64encode(sealed).decode(), max_age=LIFE_S, path=f"/kiosk/{gate.gate_id}/",
        secure=True, httponly=True, samesite="Strict",
    )  # fmt: skip


def session_gate(gate_id: str) -> Gate:
    """The gate that this browser speaks for.

    Raises:
        Problem: 503 `not_synced` before the node knows its gates; 401 `kiosk_key_wrong` without a good cookie.
    """
    gate = own_gate(gate_id)
    try:
        sealed = base64.urlsafe_b64decode(request.cookies.get(COOKIE, ""))
        held = node().envelope.open(sealed, _context(gate_id)).decode()
    except (DecryptionError, binascii.Error, ValueError):
        raise refused() from None
    if gate is None or not hmac.compare_digest(held, gate.kiosk_key_sha256):
        raise refused()
    g.principal_id = f"gate:{gate_id}"
    return gate


def same_origin() -> None:
    """Raises Problem 403 for a request that another site's page had the browser send."""
    fetched, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    # Browsers from before Sec-Fetch-Site name the origin of every POST.
    own = fetched == "same-origin" if fetched else origin in (None, request.host_url.rstrip("/"))
    if not own:
        raise Problem(
            403, "other_origin", "이 화면에서 보낸 요청이 아닙니다. 키오스크 화면에서 다시 시도하세요.",
            "Not sent by the kiosk's own page. Try again there.",
        )  # fmt: skip


def _context(gate_id: str) -> bytes:
    return f"kiosk-session:{gate_id}".encode()
