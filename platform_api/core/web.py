"""What routes are made of: blueprints, the unit of work of a request, idempotency keys.

Order of decorators, outermost first: route, `require`, `transaction`, `arguments`, `response`. The transaction
stands outside `response`, because it keeps the finished answer under the caller's idempotency key.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import flask_smorest
import structlog
from flask import Flask, Request, Response, g, make_response, request
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from webargs.core import missing
from webargs.flaskparser import FlaskParser, is_json_request
from werkzeug.exceptions import HTTPException

from platform_api.core import openapi
from platform_api.core.database import unit_of_work
from platform_api.core.encryption import RingFile
from platform_api.core.errors import Problem, from_http_exception
from platform_api.core.http import ServiceUnavailable
from platform_api.core.models import IdempotencyKey
from platform_api.core.openapi import LONGEST_KEY
from platform_api.core.texts import is_storable

log = structlog.get_logger(__name__)

P = ParamSpec("P")
_KEPT_HEADERS = ("Content-Type", "Location", "ETag")


class Api(openapi.SpecMixin, flask_smorest.Api):
    """The OpenAPI document of the process; its errors are problem+json like all others."""

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer flask-smorest's own errors in our shape."""
        return from_http_exception(error).response()


class BodyParser(FlaskParser):
    """Reads JSON bodies: 415 for another type, 400 for what is no JSON, or nested or long beyond measure."""

    def _raw_load_json(self, req: Request) -> Any:
        body = req.get_data(cache=True)
        if not body:
            return missing
        if not is_json_request(req):
            raise Problem(415, "not_json", "application/json으로 보내세요.", "Send application/json.")
        try:
            return json.loads(body.decode())
        except (ValueError, RecursionError) as error:
            raise Problem(400, errors={"json": ["Invalid JSON body."]}) from error


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose routes appear in the OpenAPI document."""

    ARGUMENTS_PARSER = BodyParser()


def blueprint(name: str, url_prefix: str, description: str) -> Blueprint:
    """A blueprint of a domain."""
    return Blueprint(name, name, url_prefix=url_prefix, description=description)


def current_session() -> Session:
    """The session of the present request; the route must have `transaction`."""
    session: Session = g.session
    return session


def transaction(domain: str, *, idempotent: bool = False) -> Callable[[Callable[P, Any]], Callable[P, Response]]:
    """Run a route in one unit of work of `domain`.

    It is kept when the route answers, lost when it raises (except a Problem with `commit=True`). With `idempotent`,
    a request that carries `Idempotency-Key` is done once: the key is claimed in the same transaction, a second
    request waits for the first and gets its answer again, with the header `Idempotency-Replayed`; keys live 24 h.
    (IETF draft-ietf-httpapi-idempotency-key-header)
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, Response]:
        @functools.wraps(function)
        def within(*args: P.args, **kwargs: P.kwargs) -> Response:
            refused: Problem | None = None
            with unit_of_work(domain) as session:
                g.session = session
                key = _key() if idempotent else None
                if key is not None:
                    kept = _claim(session, key)
                    if kept is not None:
                        return kept
                try:
                    answer = make_response(function(*args, **kwargs))
                except Problem as problem:
                    if not problem.commit:
                        raise
                    refused = problem
                else:
                    if key is not None:
                        _keep(session, key, answer)
            if refused is not None:
                raise refused
            return answer

        return openapi.documented(within, **{openapi.IDEMPOTENT: True}) if idempotent else within

    return decorate


def register_backend_errors(app: Flask) -> None:
    """Answer 503 when the database or another service is away, 409 when a lock could not be had, 404 for impossible names."""

    def on_database(error: DBAPIError) -> Response:
        state = getattr(error.orig, "pgcode", None) or ""
        # A lock that could not be had in time, a deadlock, a serialization failure: undone, and may be tried again.
        if state in {"55P03", "40P01", "40001"}:
            return _busy().response()
        if error.connection_invalidated or not state or state[:2] in {"08", "53", "57"}:
            log.warning("database_away", error=str(error.orig)[:200])
            return Problem(503, headers={"Retry-After": "2"}).response()
        log.exception("database_error")
        return Problem(500).response()

    def refuse_unstorable_path() -> None:
        # Nothing in any database has such a name.
        if not is_storable(list((request.view_args or {}).values())):
            raise Problem(404)

    def on_pool(_: PoolTimeout) -> Response:
        return Problem(503, headers={"Retry-After": "1"}).response()

    def on_service(error: ServiceUnavailable) -> Response:
        log.warning("service_away", service=error.service, reason=error.reason)
        return Problem(503, headers={"Retry-After": "5"}, service=error.service).response()

    app.before_request(refuse_unstorable_path)
    app.register_error_handler(DBAPIError, on_database)
    app.register_error_handler(PoolTimeout, on_pool)
    app.register_error_handler(ServiceUnavailable, on_service)


def _key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Problem(
            400,
            "idempotency_key_invalid",
            f"Idempotency-Key는 1~{LONGEST_KEY}자의 ASCII여야 합니다.",
            f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.",
        )
    return key


def _who() -> str:
    # Callers that have no account yet (registration) share a space by address; the fingerprint keeps them apart.
    return str(g.get("principal_id") or f"anonymous:{request.remote_addr}")


@functools.cache
def _ring_file(keyring_file: str) -> RingFile:
    return RingFile(Path(keyring_file))


def _fingerprint(like: str | None = None) -> str:
    """What tells this request from others, `<kid>:<hash>`; `like`: under the key that another one was made with."""
    # Keyed: a body may hold a card number, whose plain hash could be searched for.
    keyring_file = os.environ.get("SMARTFIT_KEYRING_FILE")
    kid, key = "", b""
    if keyring_file:
        ring = _ring_file(keyring_file).now()
        kid = ring.current if like is None else like.partition(":")[0]
        if kid not in ring.keys:
            return ""  # its key has gone from the ring
        key = ring.derive("idempotency", kid=kid)
    digest = hashlib.blake2b(f"{request.method} {request.full_path}\n".encode(), key=key, digest_size=32)
    if request.mimetype == "multipart/form-data":
        # The boundary differs from try to try; the parts are what counts.
        # A part may have no name at all.
        for name, value in sorted((name or "", value) for name, value in request.form.items(multi=True)):
            digest.update(f"{name}={value}\n".encode(errors="surrogatepass"))
        for name, file in request.files.items(multi=True):
            digest.update((name or "").encode(errors="surrogatepass"))
            digest.update(hashlib.blake2b(file.stream.read()).digest())
            file.stream.seek(0)
    else:
        digest.update(request.get_data(cache=True))
    return f"{kid}:{digest.hexdigest()}"


def _claim(session: Session, key: str) -> Response | None:
    fingerprint = _fingerprint()
    who = _who()
    try:
        claimed = session.execute(
            insert(IdempotencyKey)
            .values(principal=who, key=key, fingerprint=fingerprint)
            .on_conflict_do_nothing()
            .returning(IdempotencyKey.key)
        ).first()
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == "55P03":
            raise _busy() from error
        raise
    if claimed is not None:
        return None
    row = session.scalars(
        select(IdempotencyKey).where(IdempotencyKey.principal == who, IdempotencyKey.key == key)
    ).one()
    # Hashed again only where the ring has rotated in between, or the request is another one.
    if row.fingerprint != fingerprint and row.fingerprint != _fingerprint(row.fingerprint):
        raise Problem(
            422,
            "idempotency_key_reused",
            "이 Idempotency-Key는 다른 요청에 이미 쓰였습니다. 새 키를 쓰세요.",
            "This Idempotency-Key was used for another request; use a new one.",
        )
    answer = Response(row.body or b"", status=row.status or 200, headers=row.headers or {})
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def _keep(session: Session, key: str, answer: Response) -> None:
    row = session.get_one(IdempotencyKey, (_who(), key))
    row.status = answer.status_code
    row.headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    row.body = answer.get_data()


def _busy() -> Problem:
    return Problem(
        409,
        "in_progress",
        "같은 대상에 대한 다른 요청이 처리 중입니다. 잠시 후 다시 시도하세요.",
        "Another request is working on the same thing; try again in a moment.",
        headers={"Retry-After": "1"},
    )
