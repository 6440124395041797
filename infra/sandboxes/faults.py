"""Damage on purpose: what a sandbox does instead of answering well. Set by `POST /sandbox/faults`, `{}` clears it all.

`latency_ms` delays every answer until cleared. `fail_next` spoils that many of the next answers, in the way that `answer` names,
else by `drop` (the connection is cut without a byte), `garbage` (200 with something that is no JSON), or `status`, with
`Retry-After` where `retry_after_s` is given. With `taken` the request is done all the same, and only its answer is spoilt.

Kinds of `answer`, all with status 200 but the redirect: `html` (a page, as a proxy's), `truncated` (JSON that stops in the
middle), `wrong_types` (JSON whose fields are not what they ought to be), `odd` (texts that no database holds), `deep` (JSON nested
beyond measure), `huge` (256 MiB), `redirect` (307 to itself), `drip` (a byte now and then, from the status line on).
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

from flask import Request, Response
from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["html", "truncated", "wrong_types", "odd", "deep", "huge", "redirect", "drip"]

_FIELDS = ("result", "token", "name", "error", "choices", "usage", "access_token", "token_type", "expires_in")
_ODD = "\ud800\0"
_BODIES = {
    "html": "<!doctype html><html><title>502</title><h1>Bad gateway</h1></html>",
    "truncated": '{"result": "verified", "token": "card_0123", "name": "projects/p/messages/1", "choices": [{"mess',
    "wrong_types": json.dumps({name: [{"of": 1}] for name in _FIELDS}),
    "odd": json.dumps({**dict.fromkeys(_FIELDS, _ODD), "result": "verified", "expires_in": 3600}),
    "deep": "[" * 200_000,
}
_HUGE_CHUNKS = 4096
_CHUNK = b" " * 65536
_DRIP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n" + b"{" + b" " * 4095
_DRIP_S = 0.25
_LONGEST_DRIP_S = 120.0


class Faults(BaseModel):
    """The damage asked for."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: int = Field(default=0, ge=0, le=60_000)
    fail_next: int = Field(default=0, ge=0, le=1_000_000)
    status: int = Field(default=503, ge=400, le=599)
    retry_after_s: int | None = Field(default=None, ge=0, le=3600)
    garbage: bool = False
    drop: bool = False
    answer: Kind | None = None
    taken: bool = False


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

    def next(self) -> Faults | None:
        """Wait as told; the damage to do to this answer, or None when it is to be good."""
        with self._lock:
            faults = self._faults
            spoil = faults.fail_next > 0
            if spoil:
                self._faults = faults.model_copy(update={"fail_next": faults.fail_next - 1})
        if faults.latency_ms:
            time.sleep(faults.latency_ms / 1000)
        return faults if spoil else None

    def spoilt(self, faults: Faults, request: Request) -> Response:
        """The answer to `request` that these faults make."""
        if faults.drop or faults.answer == "drip":
            connection: socket.socket = request.environ["gunicorn.socket"]
            with contextlib.suppress(OSError):
                if not faults.drop:
                    _drip(connection)
                connection.shutdown(socket.SHUT_RDWR)
            return Response(status=500)
        if faults.answer == "huge":
            return Response(_huge(), status=200, content_type="application/json")
        if faults.answer == "redirect":
            return Response(status=307, headers={"Location": request.url})
        if faults.answer is not None:
            kind = "text/html" if faults.answer == "html" else "application/json"
            return Response(_BODIES[faults.answer], status=200, content_type=kind)
        if faults.garbage:
            return Response("<html>\x00\x01 {not json", status=200, content_type="text/html")
        answer = Response(self._error_body(faults.status), status=faults.status, content_type="application/json")
        if faults.retry_after_s is not None:
            answer.headers["Retry-After"] = str(faults.retry_after_s)
        return answer


def _drip(connection: socket.socket) -> None:
    ends = time.monotonic() + _LONGEST_DRIP_S
    for byte in _DRIP:
        if time.monotonic() > ends:
            return
        connection.sendall(bytes([byte]))
        time.sleep(_DRIP_S)


def _huge() -> Iterator[bytes]:
    for _ in range(_HUGE_CHUNKS):
        yield _CHUNK
