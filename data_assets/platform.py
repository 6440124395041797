"""The platform's API, as the service `dagster`: what is learnt is told to mlops, search and auth, and they do the rest."""

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from data_assets.failures import PermanentFailure, TransientFailure
from data_assets.settings import DataSettings
from platform_api.core.http import Client, ServiceAuth, client
from platform_api.core.internal_tls import internal_tls

DOMAIN = "{domain}"
"""Stands in the base URL for the domain that is called."""
PASSING = ("in_progress", "conflict")
"""Codes of 409 that pass by themselves: the same request is under way, a lock could not be had."""


class Calls(Protocol):
    """What is needed of a client (`platform_api.core.http.Client`)."""

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call `path`."""


class PerDomain:
    """A client for each domain, where each has an address of its own: `path` begins with the domain's name."""

    def __init__(self, make: Callable[[str], Calls]) -> None:
        self._of = functools.cache(make)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Call `path` of the domain that it names."""
        return self._of(path.split("/")[1]).request(method, path, **options)


class Platform:
    """Calls with a service token; unsafe ones carry an Idempotency-Key made of what they ask, so that a retry asks once."""

    def __init__(self, http: Calls) -> None:
        self._http = http

    @classmethod
    def from_settings(cls, settings: DataSettings) -> "Platform":
        """By the settings of the process."""
        base = settings.platform_url.rstrip("/")
        tls = internal_tls()
        verify = tls.verify
        secret = settings.dagster_client_secret.get_secret_value()
        tokens = f"{base.replace(DOMAIN, 'auth')}/auth/v1/service-tokens"
        auth = ServiceAuth(tokens, settings.dagster_client_id, secret, verify, tls.pair)
        times = (3.0, 60.0)

        def of(domain: str) -> Client:
            name, url = (domain, base.replace(DOMAIN, domain)) if DOMAIN in base else ("platform", base)
            return client(name, url, timeout=times, retries=2, verify=verify, certificate=tls.pair, auth=auth)

        return cls(PerDomain(of) if DOMAIN in base else of(""))

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer.

        Raises:
            ServiceUnavailable, TransientFailure: away for the moment. PermanentFailure: refused; with the answer's words.
        """
        return self._judged(self._http.request("GET", path, params=query))

    def post(self, path: str, body: Any, key: str = "") -> Any:
        """As `get`. key: what makes this call another than the same one made before (a run's id)."""
        digest = hashlib.sha256(json.dumps([path, body, key], sort_keys=True, default=str).encode()).hexdigest()
        return self._judged(self._http.request("POST", path, json=body, headers={"Idempotency-Key": digest[:48]}))

    def put(self, path: str, body: Any) -> Any:
        """As `get`."""
        return self._judged(self._http.request("PUT", path, json=body))

    def _judged(self, answer: Any) -> Any:
        if answer.status_code == 401 or (answer.status_code == 409 and _code(answer) in PASSING):
            raise TransientFailure(f"the platform answered {answer.status_code}")
        if answer.status_code >= 400:
            problem = _problem(answer)
            english = str(problem.get("detail_en") or problem.get("title") or f"status {answer.status_code}")
            raise Refused(
                answer.status_code, _code(answer), str(problem.get("detail") or "거절되었습니다."), english, problem
            )
        return answer.json() if answer.content else None


class Refused(PermanentFailure):
    """The platform refused a call. status, code: of the problem document, which `problem` holds whole."""

    def __init__(self, status: int, code: str, korean: str, english: str, problem: dict[str, Any]) -> None:
        super().__init__(korean, english)
        self.status, self.code, self.problem = status, code, problem


def _problem(answer: Any) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _code(answer: Any) -> str:
    return str(_problem(answer).get("code", ""))
