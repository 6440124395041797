"""What a service outside the platform may cost its caller: the whole answer by a time, and no more than so many bytes of it.

The timeouts of requests are for the connection and for the wait between bytes. A service that sends a byte now and then would
hold its caller for as long as it likes, and one that never ends would fill its memory.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import time
from contextvars import ContextVar
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

ANSWER_BYTES = 1024 * 1024
_CHUNK = 64 * 1024
_until: ContextVar[float] = ContextVar("until", default=float("inf"))
"""When the answer to the request under way must be whole (time.monotonic)."""


class TooLarge(requests.RequestException):
    """The answer has more bytes than it may have."""


class BoundedAdapter(HTTPAdapter):
    """Answers are whole within `whole_s` seconds, retries and connecting included, and have at most `most_bytes` bytes, unpacked.

    What takes longer is requests.Timeout or requests.ConnectionError, what is larger TooLarge.
    """

    def __init__(self, whole_s: float, most_bytes: int = ANSWER_BYTES, **options: Any) -> None:
        self._whole_s, self._most_bytes = whole_s, most_bytes
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Connections are of the kinds below."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Send, and read all of the answer."""
        before = _until.set(time.monotonic() + self._whole_s)
        try:
            answer = super().send(request, *arguments, **options)
            with contextlib.ExitStack() as unless_whole:
                unless_whole.callback(answer.close)
                answer._content = self._read(answer)
                unless_whole.pop_all()
            return answer
        finally:
            _until.reset(before)

    def _read(self, answer: requests.Response) -> bytes:
        parts, size = [], 0
        for part in answer.iter_content(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > self._most_bytes:
                raise TooLarge(f"more than {self._most_bytes} bytes")
        return b"".join(parts)


class _Timed(io.RawIOBase):
    """The bytes of a socket, until a time."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, until: float, gap: float | None) -> None:
        self._raw, self._connection, self._until, self._gap = raw, connection, until, gap

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole answer took too long")
        self._connection.settimeout(left if self._gap is None else min(left, self._gap))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        # The connection may be used again.
        with contextlib.suppress(OSError):
            self._connection.settimeout(self._gap)
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *arguments: Any, gap: float | None, **options: Any) -> None:
        super().__init__(connection, *arguments, **options)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), connection, _until.get(), gap))


class _HTTPConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        self.response_class = functools.partial(_Answer, gap=self.timeout)  # type: ignore[assignment]
        return super().getresponse()


class _HTTPSConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        self.response_class = functools.partial(_Answer, gap=self.timeout)  # type: ignore[assignment]
        return super().getresponse()


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
