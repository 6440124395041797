"""Who is signed in: tokens in cookies that no script reads, renewed on the way, once, however many tabs ask at once.

A refresh token is good once, and a second use of it ends the whole session (auth takes it for theft). Two tabs that come
back after a quarter of an hour both present the same one, so the exchange is done by the first and its result kept for a
moment for the others: in Redis where several processes serve pages, sealed by the token that was presented.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.fernet import Fernet, InvalidToken
from flask import Flask, Response, current_app, g, request

from platform_api.core.cache import Away, KeptAnswers, key_of, shared
from platform_api.core.errors import Problem
from platform_api.web.backend import Backend

ACCESS, REFRESH = "__Secure-smartfit-access", "__Secure-smartfit-session"
OPERATOR_COOKIE = "__Secure-smartfit-operator"
"""The gateway lets operators into Dagster's pages by it; sent there alone."""
DAGSTER = "/dagster"
PATH = "/app"
EARLY_S = 30
"""An access token that ends within this time is renewed before it is used."""
KEPT_S = 30.0
REMEMBERED_S = 30 * 86400
_ENDED = frozenset({"refresh_invalid", "refresh_reused", "account_suspended"})


@dataclass(frozen=True)
class Person:
    """Who is signed in, as far as the pages need it. What they may do is decided by the domains."""

    member_id: str
    roles: frozenset[str]
    branch_ids: tuple[str, ...]
    session_id: str | None = None

    def has(self, *roles: str) -> bool:
        """Whether they have one of the roles."""
        return bool(self.roles & set(roles))


class Renewals:
    """Exchanges of refresh tokens."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cache = shared()
        # Here as well: a Redis that goes away takes none of them along.
        self._here = KeptAnswers("web_renewals", KEPT_S, None)
        self._kept = KeptAnswers("web_renewals", KEPT_S, self._cache) if self._cache else self._here
        self._locks = [threading.Lock() for _ in range(64)]

    def renew(self, token: str) -> dict[str, Any]:
        """New tokens for a refresh token; the same ones for everybody who asks within KEPT_S.

        Raises:
            Problem: 401 where the session has ended.
            backend.Away: auth is away; the token is as good as before.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        seal = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"renewal\0" + token.encode()).digest()))
        with self._locks[int(digest[:2], 16) % len(self._locks)]:
            found = self._done(digest, seal) or self._done_elsewhere(digest, seal)
            if found is None:
                try:
                    found = self._backend.send("POST", "/auth/v1/tokens/refresh", body={"refresh_token": token}).json
                except Problem:
                    self._give_back(digest)
                    raise
                for kept in {self._here, self._kept}:
                    kept.put(seal.encrypt(json.dumps(found).encode()), digest)
            return found

    def _done(self, digest: str, seal: Fernet) -> dict[str, Any] | None:
        kept = self._here.get(digest) or (self._kept.get(digest) if self._kept is not self._here else None)
        try:
            return json.loads(seal.decrypt(kept)) if kept else None
        except (InvalidToken, ValueError):
            return None

    def _done_elsewhere(self, digest: str, seal: Fernet) -> dict[str, Any] | None:
        """What another process has or is about to have; None where it is ours to do."""
        if self._cache is None:
            return None
        turn = _turn(digest)
        try:
            until = time.monotonic() + 5
            while not self._cache.ask("web_renewals", lambda redis: redis.set(turn, b"1", nx=True, px=10_000)):
                found = self._done(digest, seal)
                if found is not None or time.monotonic() > until:
                    return found
                time.sleep(0.05)
        except Away:
            pass
        return None

    def _give_back(self, digest: str) -> None:
        """Nothing came of it: whoever asks next need not wait."""
        if self._cache is not None:
            with contextlib.suppress(Away):
                self._cache.ask("web_renewals", lambda redis: redis.delete(_turn(digest)))


def _turn(digest: str) -> str:
    return key_of("web_renewal_turn", digest)


def init_app(app: Flask, backend: Backend) -> None:
    """Let every request know who is signed in, and renew the session where it is due."""
    app.extensions["renewals"] = Renewals(backend)

    @app.before_request
    def recognise() -> None:
        if not request.path.startswith(f"{PATH}/") or request.path.startswith(f"{PATH}/static/"):
            return
        token = request.cookies.get(ACCESS, "")
        claims = _claims(token)
        if claims is None or claims["exp"] < time.time() + EARLY_S:
            claims = _renewed()
        else:
            g.access_token = token
        if claims is not None:
            g.person = _person(claims)
            g.principal_id = g.person.member_id

    @app.after_request
    def keep(answer: Response) -> Response:
        if "tokens" in g:
            _set_cookies(answer, g.tokens)
        elif g.get("signed_out"):
            for name in (ACCESS, REFRESH):
                answer.delete_cookie(name, path=PATH, secure=True, httponly=True, samesite="Lax")
            answer.delete_cookie(OPERATOR_COOKIE, path=DAGSTER, secure=True, httponly=True, samesite="Strict")
        return answer


def person() -> Person | None:
    """Who is signed in."""
    found: Person | None = g.get("person")
    return found


def sign_in(tokens: dict[str, Any]) -> None:
    """Whoever is before the page is signed in with these tokens of auth from now on."""
    claims = _claims(tokens["access_token"])
    if claims is None:
        raise Problem(502)
    g.tokens, g.access_token = tokens, tokens["access_token"]
    g.person = _person(claims)


def renew_now() -> None:
    """Get tokens with the roles as they are now. Raises Problem 401 where the session has ended."""
    token = request.cookies.get(REFRESH)
    if token and "tokens" not in g:
        sign_in(current_app.extensions["renewals"].renew(token))


def sign_out(backend: Backend) -> None:
    """End the session, here and at auth."""
    token = g.tokens["refresh_token"] if "tokens" in g else request.cookies.get(REFRESH)
    if token:
        backend.send("POST", "/auth/v1/tokens/revoke", body={"refresh_token": token})
    forget()


def forget() -> None:
    """Let the browser forget a session that has ended."""
    for name in ("tokens", "person", "access_token"):
        g.pop(name, None)
    g.signed_out = True


def _renewed() -> dict[str, Any] | None:
    token = request.cookies.get(REFRESH)
    if not token:
        return None
    try:
        tokens = current_app.extensions["renewals"].renew(token)
    except Problem as problem:
        if problem.code not in _ENDED:
            raise
        g.signed_out = g.session_ended = True
        return None
    g.tokens, g.access_token = tokens, tokens["access_token"]
    return _claims(tokens["access_token"])


def _person(claims: dict[str, Any]) -> Person:
    roles, branches = frozenset(claims.get("roles", ())), tuple(claims.get("branch_ids", ()))
    return Person(str(claims["sub"]), roles, branches, claims.get("sid"))


def _claims(token: str) -> dict[str, Any] | None:
    """What the token says, not checked here: it names what to show, and every domain checks it before it answers."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return claims if {"sub", "exp"} <= claims.keys() else None
    except jwt.PyJWTError:
        return None


def _set_cookies(answer: Response, tokens: dict[str, Any]) -> None:
    access, life = tokens["access_token"], int(tokens["expires_in"])
    answer.set_cookie(ACCESS, access, max_age=life, path=PATH, secure=True, httponly=True, samesite="Lax")
    answer.set_cookie(
        REFRESH, tokens["refresh_token"], max_age=REMEMBERED_S, path=PATH, secure=True, httponly=True, samesite="Lax"
    )
    if "operator" in (_claims(access) or {}).get("roles", ()):
        answer.set_cookie(
            OPERATOR_COOKIE, access, max_age=life, path=DAGSTER, secure=True, httponly=True, samesite="Strict"
        )
