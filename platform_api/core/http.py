"""HTTP clients for what lies outside the process: timeouts always, retries where safe, a breaker in between.

A service that hangs must not take its callers with it: every call has a connect and a read timeout, and after
a run of failures the circuit (Nygard, "Release It!") stays open for a while and calls fail at once.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pybreaker
import requests
from prometheus_client import Counter, Gauge
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from platform_api.core.bounded import BoundedAdapter
from platform_api.core.telemetry.tracing import add_context

CALLS = Counter("smartfit_outgoing_requests_total", "Calls to other services", ["service", "outcome"])
CIRCUITS_OPEN = Gauge(
    "smartfit_outgoing_circuits_open",
    "Circuits to another service that let no call through, or one to try; closed again by a call that succeeds",
    ["service"],
    multiprocess_mode="livesum",
)


class ServiceUnavailable(Exception):
    """Another service did not answer usefully: refused, timed out, 5xx or 429, or the circuit is open."""

    def __init__(self, service: str, reason: str) -> None:
        self.service = service
        self.reason = reason
        super().__init__(f"{service}: {reason}")


class _Counted(pybreaker.CircuitBreakerListener):
    """Counts the circuits that are not closed; half-open, the service has not answered yet."""

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        was_open = old_state is not None and old_state.name != pybreaker.STATE_CLOSED
        CIRCUITS_OPEN.labels(cb.name).inc((new_state.name != pybreaker.STATE_CLOSED) - was_open)


def circuit(name: str, *, exclude: Sequence[type[Exception]] = ()) -> pybreaker.CircuitBreaker:
    """A breaker towards service `name`: open for 15 s after 5 failures in a row; `exclude`: what is none.

    The process tells in its metrics whether it is open.
    """
    CIRCUITS_OPEN.labels(name)
    return pybreaker.CircuitBreaker(
        fail_max=5,
        reset_timeout=15,
        name=name,
        listeners=[_Counted()],
        exclude=list(exclude),
        # The call that opens it was made, and has a cause of its own; it is none that was not let through.
        throw_new_error_on_trip=False,
    )


class Client:
    """A `requests` session towards one service. Made by `client`; safe to share between threads."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        timeout: tuple[float, float],
        retries: int,
        verify: str | bool,
        certificate: tuple[str, str] | None,
        breaker: pybreaker.CircuitBreaker | None,
        auth: AuthBase | None,
        headers: Mapping[str, str] | None,
        every_status: bool = False,
        whole_s: float | None = None,
    ) -> None:
        self.name = name
        self.outside = whole_s is not None
        self.every_status = every_status
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.breaker = breaker
        self.session = requests.Session()
        self.session.verify = verify
        self.session.cert = certificate
        # requests prefers REQUESTS_CA_BUNDLE over session.verify while it trusts the environment.
        self.session.trust_env = False
        self.session.auth = auth
        self.session.headers.update(headers or {})
        policy = Retry(
            total=retries,
            backoff_factor=0.1,
            backoff_jitter=0.1,
            status_forcelist=(502, 503, 504),
            allowed_methods=frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
            raise_on_status=False,
        )
        adapter = (
            HTTPAdapter(max_retries=policy, pool_maxsize=16)
            if whole_s is None
            else BoundedAdapter(whole_s, max_retries=policy, pool_maxsize=16)
        )
        self.session.mount("https://", adapter)
        self.session.mount("http://", adapter)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call `base_url + path`. An answer below 500 (429 aside) is returned as it is, to be judged by the caller.

        Raises:
            ServiceUnavailable: see there.
        """
        options.setdefault("timeout", self.timeout)
        if self.outside:
            options.setdefault("allow_redirects", False)
        try:
            if self.breaker is None:
                answer = self._send(method, path, options)
            else:
                # Not `call`: that holds the breaker's lock meanwhile, and calls would go one by one.
                with self.breaker.calling():
                    answer = self._send(method, path, options)
        except pybreaker.CircuitBreakerError as error:
            CALLS.labels(self.name, "open").inc()
            raise ServiceUnavailable(self.name, "circuit open") from error
        except requests.RequestException as error:
            CALLS.labels(self.name, "failed").inc()
            raise ServiceUnavailable(self.name, type(error).__name__) from error
        CALLS.labels(self.name, "answered").inc()
        return answer

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """POST; see `request`. Not retried by itself: give an Idempotency-Key and repeat where the service has them."""
        return self.request("POST", path, **options)

    def _send(self, method: str, path: str, options: dict[str, Any]) -> requests.Response:
        headers = dict(options.pop("headers", None) or {})
        add_context(headers)
        answer = self.session.request(method, self.base_url + path, headers=headers, **options)
        if (answer.status_code >= 500 or answer.status_code == 429) and not self.every_status:
            answer.close()
            raise requests.HTTPError(f"status {answer.status_code}", response=answer)
        return answer


def client(
    name: str,
    base_url: str,
    *,
    timeout: tuple[float, float] = (2.0, 5.0),
    retries: int = 0,
    verify: str | bool = True,
    certificate: tuple[str, str] | None = None,
    breaker: bool = True,
    auth: AuthBase | None = None,
    headers: Mapping[str, str] | None = None,
    every_status: bool = False,
    whole_s: float | None = None,
) -> Client:
    """A client of service `name`.

    Args:
        timeout: seconds to connect, seconds between bytes.
        retries: for safe and idempotent methods only.
        verify: path of a CA file, or True for the system's.
        certificate: files of the chain and the key that are shown to the service, where it asks (see `internal_tls`).
        breaker: open the circuit for 15 s after 5 failures in a row.
        auth: e.g. `ServiceAuth`.
        headers: sent with each request.
        every_status: whatever comes is an answer, 5xx and 429 too, for a caller that passes it on to somebody; only a service
            that cannot be reached counts as a failure.
        whole_s: of a service outside the platform: seconds for the whole answer, which may have no more than
            `bounded.ANSWER_BYTES`; and it sends nobody elsewhere: redirects are answers.
    """
    return Client(
        name,
        base_url,
        timeout=timeout,
        retries=retries,
        verify=verify,
        certificate=certificate,
        breaker=circuit(name) if breaker else None,
        auth=auth,
        headers=headers,
        every_status=every_status,
        whole_s=whole_s,
    )


def document(answer: requests.Response) -> Any:
    """The JSON of an answer.

    Raises:
        ValueError: it is none, or is nested beyond measure.
    """
    try:
        return answer.json()
    except RecursionError:
        raise ValueError("nested too deep") from None


class ServiceAuth(AuthBase):
    """Gets a service token with client credentials (RFC 6749 section 4.4) and renews it before it ends."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        verify: str | bool = True,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.token_url = token_url
        self.client_id = client_id
        self.client_secret = client_secret
        self.verify = verify
        self.certificate = certificate
        self._token = ""
        self._renew_at = 0.0
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token()}"
        return request

    def token(self) -> str:
        """The present token.

        Raises:
            requests.RequestException: the token cannot be had; `Client` turns it into ServiceUnavailable.
        """
        with self._lock:
            if time.monotonic() >= self._renew_at:
                answer = requests.post(
                    self.token_url,
                    json={"client_id": self.client_id, "client_secret": self.client_secret},
                    timeout=(2.0, 5.0),
                    verify=self.verify,
                    cert=self.certificate,
                )
                answer.raise_for_status()
                body = answer.json()
                self._token = str(body["access_token"])
                self._renew_at = time.monotonic() + float(body["expires_in"]) * 0.8
            return self._token
