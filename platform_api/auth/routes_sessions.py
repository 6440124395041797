"""HTTP of signing in: tokens, sessions, service tokens, public keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response, jsonify, request

from platform_api.auth import members, revocations, schemas, sessions
from platform_api.auth.access_rules import member_or_me
from platform_api.auth.turnstile import sign_ins
from platform_api.core.addresses import caller_address
from platform_api.core.schemas import PEOPLE, PageQuery
from platform_api.core.security import principal, require
from platform_api.core.security.tokens import key_set
from platform_api.core.web import blueprint, current_session, transaction

NO_STORE = {"Cache-Control": "no-store"}
JWKS_AGE_S = 300

blp = blueprint("auth-sessions", "/auth/v1", "Signing in and out")
well_known = blueprint("auth-keys", "/.well-known", "Public keys of access tokens")
internal = blueprint("auth-revocations", "/auth/internal/v1", "For services only; the gateway does not route it")
blueprints = [blp, well_known, internal]


@blp.post("/tokens")
@sign_ins
@transaction("auth")
@blp.arguments(schemas.LoginSchema)
@blp.response(200, schemas.TokensSchema)
@blp.alt_response(401, "UNAUTHORIZED")
@blp.alt_response(403, "FORBIDDEN")
def login(said: dict[str, str]) -> tuple[sessions.Tokens, int, dict[str, str]]:
    """Sign in."""
    key, agent = members.email_key(said["email"]), request.headers.get("User-Agent")
    tokens = sessions.login(current_session(), key, said["password"], address=caller_address(), user_agent=agent)
    return tokens, 200, NO_STORE


@blp.post("/tokens/refresh")
@transaction("auth")
@blp.arguments(schemas.RefreshSchema)
@blp.response(200, schemas.TokensSchema)
@blp.alt_response(401, "UNAUTHORIZED")
@blp.alt_response(403, "FORBIDDEN")
def refresh(said: dict[str, str]) -> tuple[sessions.Tokens, int, dict[str, str]]:
    """Exchange a refresh token, which is good once."""
    return sessions.refresh(current_session(), said["refresh_token"]), 200, NO_STORE


@blp.post("/tokens/revoke")
@transaction("auth")
@blp.arguments(schemas.RefreshSchema)
@blp.response(204)
def logout(said: dict[str, str]) -> None:
    """Sign out: the session of this refresh token ends."""
    sessions.logout(current_session(), said["refresh_token"])


@blp.post("/service-tokens")
@transaction("auth")
@blp.arguments(schemas.ServiceLoginSchema)
@blp.response(200, schemas.ServiceTokenSchema)
@blp.alt_response(401, "UNAUTHORIZED")
def service_login(said: dict[str, str]) -> tuple[sessions.Tokens, int, dict[str, str]]:
    """A token for a service of the platform."""
    return sessions.service_token(current_session(), **said, address=caller_address()), 200, NO_STORE


@blp.get("/members/<member_id>/sessions")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.SessionPage)
def list_sessions(query: dict[str, Any], member_id: str) -> dict[str, Any]:
    """Where the member is signed in, newest first."""
    member = members.get(current_session(), member_or_me(member_id))
    items, cursor = sessions.of_member(current_session(), member.id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.delete("/members/<member_id>/sessions/<session_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.response(204)
def end_session(member_id: str, session_id: str) -> None:
    """Sign out somewhere else."""
    member = members.get(current_session(), member_or_me(member_id))
    sessions.revoke_session(current_session(), member.id, session_id, principal().id)


@internal.get("/revocations")
@internal.arguments(schemas.RevocationQuery, location="query")
@internal.response(200, schemas.RevocationsSchema)
def list_revocations(query: dict[str, float]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Access tokens that end before their time, by hashes; read by every process, as the public keys are."""
    reading = revocations.since(query["since"])
    return {"at": reading.at, "revoked": [asdict(each) for each in reading.revoked]}, 200, NO_STORE


def _jwks() -> Response:
    answer = jsonify(key_set().jwks())
    answer.headers["Cache-Control"] = f"public, max-age={JWKS_AGE_S}"
    return answer


@blp.get("/jwks.json")
@blp.response(200, schemas.JwksSchema)
def jwks() -> Response:
    """The public keys that access tokens are checked with (RFC 7517)."""
    return _jwks()


@well_known.get("/jwks.json")
@well_known.response(200, schemas.JwksSchema)
def well_known_jwks() -> Response:
    """The same, at the usual place."""
    return _jwks()
