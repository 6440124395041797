"""How a gate node proves who it is: a short assertion signed with its own Ed25519 key (RFC 7523, private_key_jwt).

`Authorization: Bearer <JWT>`, EdDSA: iss = sub = edge id, aud "smartfit-access", iat, exp = iat + 60 s, jti. A jti is good
once; it is spent in a transaction of its own, so that a request that fails later has spent it all the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import g, request
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.access.models import DeviceAssertion, Edge
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.errors import Problem
from platform_api.core.openapi import documented

AUDIENCE = "smartfit-access"
LIFE = timedelta(seconds=60)
_MAX_LENGTH = 2048
_SEEN_EVERY = timedelta(seconds=60)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Device:
    """A node that has proved itself."""

    edge_id: str
    branch_id: str


def device() -> Device:
    """The node of the present request; the route must have `require_device`."""
    found: Device = g.device
    return found


def require_device(function: Callable[P, R]) -> Callable[P, R]:
    """Let a route be called only with a valid assertion of a registered node."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Problem(
                401, "assertion_missing", "장치 인증이 필요합니다.", "Send a device assertion as bearer token."
            )
        with unit_of_work("access") as session:
            g.device = authenticate(session, token.strip(), clock.now())
        g.principal_id = f"edge:{g.device.edge_id}"
        structlog.contextvars.bind_contextvars(principal=g.principal_id)
        return function(*args, **kwargs)

    return documented(guarded, security=[{"device": []}])


def authenticate(session: Session, token: str, now: datetime) -> Device:
    """The node whose assertion this is.

    Raises:
        Problem: 401 `assertion_invalid` (form, key, claims, revoked or unknown node: not told apart), `assertion_replayed`,
            or `clock_skew` with `server_time` where only the times are wrong.
    """
    edge, claims = _verified(session, token)
    issued, expires = _moment(claims["iat"]), _moment(claims["exp"])
    leeway = timedelta(seconds=settings().device_clock_leeway_s)
    if not timedelta() < expires - issued <= LIFE:
        raise _invalid()
    if issued > now + leeway or expires <= now - leeway:
        raise Problem(
            401, "clock_skew", "장치 시계가 맞지 않습니다. server_time에 맞추고 다시 시도하세요.",
            "The node's clock is off; set it by server_time and try again.", server_time=now.isoformat(),
        )  # fmt: skip
    # Losing the last spent jtis in a crash of the server is harmless; waiting for the disk on each request is not.
    session.execute(text("SET LOCAL synchronous_commit = off"))
    values = {"edge_id": edge.edge_id, "jti": claims["jti"], "expires_at": expires + leeway}
    spent = session.execute(
        insert(DeviceAssertion).values(values).on_conflict_do_nothing().returning(DeviceAssertion.jti)
    ).first()
    if spent is None:
        raise Problem(
            401, "assertion_replayed", "이미 사용된 인증입니다.", "This assertion was used before; sign a new one."
        )
    if edge.last_seen_at is None or now - edge.last_seen_at > _SEEN_EVERY:
        edge.last_seen_at = now
    return Device(edge.edge_id, edge.branch_id)


def _verified(session: Session, token: str) -> tuple[Edge, dict[str, Any]]:
    try:
        if len(token) > _MAX_LENGTH:
            raise jwt.InvalidTokenError("too long")
        unverified = jwt.decode(token, options={"verify_signature": False})
        edge = session.get(Edge, str(unverified["iss"]))
        if edge is None or edge.revoked_at is not None:
            raise jwt.InvalidTokenError("unknown or revoked node")
        claims = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(bytes(edge.public_key)),
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            issuer=edge.edge_id,
            options={
                "require": ["iss", "sub", "aud", "iat", "exp", "jti"],
                # Times are judged afterwards, against our clock and with an answer that helps.
                "verify_exp": False, "verify_iat": False, "verify_nbf": False,
            },
        )  # fmt: skip
        if claims["sub"] != edge.edge_id or not (isinstance(claims["jti"], str) and 8 <= len(claims["jti"]) <= 128):
            raise jwt.InvalidTokenError("claims")
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        raise _invalid() from error
    return edge, claims


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise _invalid() from error


def _invalid() -> Problem:
    return Problem(401, "assertion_invalid", "장치 인증이 올바르지 않습니다.", "The device assertion is not valid.")
