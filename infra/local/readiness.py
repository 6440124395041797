"""Asks each service whether it can do its work, all at once, and tells who can as soon as it can."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import requests

from infra.local.services import Service
from infra.local.state import State

INTERVAL_S = 0.15
TIMEOUT_S = 60.0
MOST_STARTS = 3


class NotReady(RuntimeError):
    """A service did not become ready in time. `service` names it, the text is its last answer."""

    def __init__(self, service: str, why: str) -> None:
        super().__init__(f"{service}: {why}")
        self.service, self.why = service, why


def problem_of(service: Service, state: State, timeout_s: float = 2.0) -> str | None:
    """None when the service is ready, else why it is not."""
    try:
        if not isinstance(service.ready, str):
            return service.ready()
        with requests.Session() as session:
            session.trust_env = False  # a proxy or CA of the environment is not for loopback
            answer = session.get(service.ready, timeout=timeout_s, verify=str(state.tls / "ca.pem"))
        return None if answer.ok else f"HTTP {answer.status_code} {answer.text[:200].strip()}"
    except FileNotFoundError as error:
        return f"{error.filename}: missing"
    except OSError as error:
        return type(error).__name__


def wait(
    service: Service,
    state: State,
    pid: Callable[[], int],
    given_up: Event,
    timeout_s: float = TIMEOUT_S,
) -> float:
    """Seconds until the service is ready.

    `pid` gives its present process: one that ends again and again will not become ready by waiting. Raises NotReady
    for that, after `timeout_s`, and when `given_up` is set because what it needs has failed.
    """
    began, seen = time.monotonic(), set[int]()
    while (why := problem_of(service, state)) is not None:
        seen |= {pid()} - {0}
        if len(seen) > MOST_STARTS:
            raise NotReady(service.name, f"{len(seen)}x ↻")
        if given_up.wait(INTERVAL_S) or time.monotonic() - began > timeout_s:
            raise NotReady(service.name, why)
    return time.monotonic() - began


def problems(services: Iterable[Service], state: State) -> dict[str, str | None]:
    """{service: None, or why it is not ready}, asked side by side."""
    asked = list(services)
    with ThreadPoolExecutor(max(len(asked), 1)) as pool:
        answers = pool.map(lambda service: problem_of(service, state), asked)
        return {service.name: answer for service, answer in zip(asked, answers, strict=True)}
