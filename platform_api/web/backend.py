"""The domains' REST APIs, asked in the name of whoever is signed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import requests
import structlog
from flask import Response, g, request

from platform_api.core.addresses import caller_address
from platform_api.core.errors import Problem
from platform_api.core.http import Client, ServiceUnavailable, client
from platform_api.core.internal_tls import internal_tls
from platform_api.web.settings import WebSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")
_MEMBERS = frozenset({"type", "title", "status", "code", "detail", "detail_en", "instance"})
AT_ONCE = 16
"""Questions that one page asks side by side, over all pages of the process four times as many."""


class Away(Problem):
    """A domain did not answer. A Problem like any other, so that a form shows it and keeps what was typed."""

    def __init__(self, error: ServiceUnavailable) -> None:
        super().__init__(503, headers={"Retry-After": "5"}, service=error.service)


@dataclass(frozen=True)
class Answer:
    """An answer below 400. `json`: None where it is empty; `etag`: for the next change of the same thing."""

    json: Any
    etag: str | None
    status: int
    location: str | None


class Backend:
    """All domains. One for the process; safe to share between threads."""

    def __init__(self, settings: WebSettings) -> None:
        tls = internal_tls()
        self._clients: dict[str, Client] = {
            domain: client(
                domain,
                url,
                timeout=(2.0, settings.web_read_timeout_s),
                # What a domain answers is for the one who asked; only a domain that cannot be reached is away.
                every_status=True,
                verify=tls.verify,
                certificate=tls.pair,
            )
            for domain, url in settings.urls().items()
        }
        self._pool = ThreadPoolExecutor(4 * AT_ONCE, thread_name_prefix="together")

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `path`, e.g. `/auth/v1/members/me`. `query`: parameters; those that are None are left out.

        Raises:
            Problem: as the domain answered; Away where it did not.
        """
        return self.send("GET", path, params=query).json

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: dict[str, Any] | None = None,
        key: str | None = None,
        etag: str | None = None,
        fields: dict[str, Any] | None = None,
        files: list[tuple[str, tuple[str, Any, str]]] | None = None,
    ) -> Answer:
        """Ask for a change.

        Args:
            body: sent as JSON.
            key: idempotency key.
            etag: of the state that the change is meant for.
            fields, files: of a form, instead of `body`.

        Raises:
            Problem: as the domain answered; Away where it did not.
        """
        headers = {"If-Match": etag} if etag else {}
        if key:
            headers["Idempotency-Key"] = key
        answer = self._ask(method, path, headers=headers, params=params, json=body, data=fields, files=files)
        content = answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else None
        return Answer(content, answer.headers.get("ETag"), answer.status_code, answer.headers.get("Location"))

    def passed_on(
        self, path: str, *, method: str = "GET", body: Any = None, download_as: str | None = None, **query: Any
    ) -> Response:
        """What lies at `path` (a photo, a file), for the browser, in pieces as it comes.

        Raises:
            Problem: as the domain answered.
        """
        answer = self._ask(method, path, params=query, json=body, stream=True)

        def pieces() -> Iterator[bytes]:
            with answer:
                yield from answer.iter_content(64 * 1024)

        passed = Response(pieces(), status=answer.status_code, content_type=answer.headers.get("Content-Type"))
        for name in ("Content-Length", "ETag"):
            if name in answer.headers and "Content-Encoding" not in answer.headers:
                passed.headers[name] = answer.headers[name]
        passed.headers["Cache-Control"] = "private, no-store"
        if download_as:
            passed.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(download_as)}"
        return passed

    def together(self, *questions: Callable[[], T]) -> list[T | Problem]:
        """Several questions side by side, each answered by what it returns or by the problem it ran into.

        A page shows what it could get: one domain that is away takes only its own part of the page along.
        """

        def asked(question: Callable[[], T]) -> T | Problem:
            try:
                return question()
            except Problem as problem:
                return problem

        # In a copy of the context, which has the request itself, `g`, the trace, and what log lines have in common. A copy
        # of the request would be torn down in each thread, and the request's span ended there.
        runs = [self._pool.submit(copy_context().run, asked, question) for question in questions]
        return [run.result() for run in runs]

    def all_of(self, *questions: Callable[[], T]) -> list[T]:
        """As `together`, for a page that is nothing without every one of them. Raises the first Problem."""
        found: list[T] = []
        for answer in self.together(*questions):
            if isinstance(answer, Problem):
                raise answer
            found.append(answer)
        return found

    def _ask(self, method: str, path: str, *, params: dict[str, Any] | None, **options: Any) -> requests.Response:
        domain = path.split("/", 2)[1]
        headers = options.pop("headers", None) or {}
        headers |= {"X-Forwarded-For": _forwarded_for(), "Accept": "application/json"}
        if options.get("stream"):
            headers.pop("Accept")
        agent = request.headers.get("User-Agent")
        if agent:
            headers["User-Agent"] = agent
        token = g.get("access_token")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # With or without: `requests` must not look for credentials elsewhere.
        query = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = self._clients[domain].request(method, path, headers=headers, params=query, **options)
        except ServiceUnavailable as error:
            raise Away(error) from error
        if answer.status_code >= 400:
            raise _problem(answer, domain)
        return answer


def _forwarded_for() -> str:
    # Limits and lockouts go by the address of whoever sits before the page, not by ours.
    return caller_address() or "0.0.0.0"  # noqa: S104 (nobody listens there)


def _problem(answer: requests.Response, domain: str) -> Problem:
    with answer:
        try:
            said = json.loads(answer.content)
            if not isinstance(said, dict):
                raise ValueError
        except ValueError:
            log.warning("not_a_problem", service=domain, status=answer.status_code)
            return Problem(answer.status_code if answer.status_code in (404, 413, 429, 503) else 502)
    wait = answer.headers.get("Retry-After")
    return Problem(
        answer.status_code,
        said.get("code"),
        said.get("detail"),
        said.get("detail_en"),
        headers={"Retry-After": wait} if wait else None,
        **{name: value for name, value in said.items() if name not in _MEMBERS},
    )
