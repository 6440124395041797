"""Damage on purpose: what a sandbox does instead of answering well. Set by `POST /sandbox/faults`, `{}` clears it all.

`latency_ms` delays every answer until cleared. `fail_next` spoils that many of the next answers in one of three ways:
`drop` cuts the connection without a byte, `garbage` answers 200 with something that is no JSON, otherwise `status`, with
`Retry-After` where `retry_after_s` is given.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from flask import Request, Response
from pydantic import BaseModel, ConfigDict, Field


class Faults(BaseModel):
    """The damage asked for."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: int = Field(default=0, ge=0, le=60_000)
    fail_next: int = Field(default=0, ge=0, le=1_000_000)
    status: int = Field(default=503, ge=400, le=599)
    retry_after_s: int | None = Field(default=None, ge=0, le=3600)
    garbage: bool = False
    drop: bool = False


def plain_error(_: int) -> str:
    """The body of a spoilt answer, where a sandbox has no shape of its own for errors."""
    return '{"error": "fault"}'


class FaultInjector:
    """Applies the faults in force to each answer. `error_body` writes the body for a status."""

    def __init__(self, error_body: Callable[[int], str] = plain_error) -> None:
        self._faults = Faults()
        self._error_body = error_body
        self._lock = threading.Lock()

    def set(self, faults: Faults) -> Faults:
        """Put `faults` in the place of those in force."""
        with self._lock:
            self._faults = faults
        return faults

    def apply(self, request: Request) -> Response | None:
        """Wait, and return the spoilt answer, or None when this one is to be good."""
        with self._lock:
            faults = self._faults
            spoil = faults.fail_next > 0
            if spoil:
                self._faults = faults.model_copy(update={"fail_next": faults.fail_next - 1})
        if faults.latency_ms:
            time.sleep(faults.latency_ms / 1000)
        if not spoil:
            return None
        if faults.drop:
            connection: socket.socket = request.environ["gunicorn.socket"]
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            return Response(status=500)
        if faults.garbage:
            return Response("<html>\x00\x01 {not json", status=200, content_type="text/html")
        answer = Response(self._error_body(faults.status), status=faults.status, content_type="application/json")
        if faults.retry_after_s is not None:
            answer.headers["Retry-After"] = str(faults.retry_after_s)
        return answer
