"""Asking one item for an echo: GET <echo_url>?nonce=<hex>, and the same nonce must come back in JSON.

The standard library's HTTP client, because it does no more than it is told: no redirects, no proxies, no cookies, no
retries. The connection is kept between probes. The whole probe has one deadline, whatever the other side drips.
"""

import contextlib
import http.client
import ipaddress
import json
import secrets
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

from platform_api.core.addresses import Network
from platform_api.monitoring.addresses import BadAddress, EchoUrl, allowed, parse

MAX_ANSWER = 4096


@dataclass(frozen=True)
class Echo:
    """How a probe went. `error`: None for a good echo; else a reason code."""

    error: str | None
    rtt_ms: float


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates are checked, against `ca_file` alone where one is given."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


class _TimedOut(Exception):
    """The probe's time is over; says in what."""


class _Connection(http.client.HTTPSConnection):
    """Connects to an address that was checked, under the name that the certificate must bear."""

    def __init__(self, url: EchoUrl, networks: Sequence[Network], context: ssl.SSLContext) -> None:
        super().__init__(url.host, url.port, context=context)
        self._networks, self._tls = networks, context

    def connect(self) -> None:
        """Connect by TCP alone; `secure` has to follow.

        Raises:
            BadAddress: none of the host's addresses is allowed.
        """
        addresses = [address for address in _addresses(self.host) if allowed(address, self._networks)]
        if not addresses:
            raise BadAddress("address_not_allowed", self.host)
        family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((addresses[0], self.port))

    def secure(self) -> None:
        """TLS, with the certificate checked."""
        assert self.sock is not None
        secured = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = secured
        secured.do_handshake()


class Target:
    """An item as it is asked: its URL and the connection that is kept to it."""

    def __init__(self, url: str, networks: Sequence[Network], context: ssl.SSLContext) -> None:
        self.url = url
        self._networks, self._context = networks, context
        self._connection: _Connection | None = None
        self._left = self._spent = 0.0

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ask(self, timeout_s: float, turn: AbstractContextManager[Any], keep: bool = True) -> Echo:
        """Ask for one echo. Raises nothing that the item could bring about.

        Args:
            timeout_s: for the whole of it: look-up, handshake, answer.
            turn: held during a handshake, and bounds how many there are at once: a thousand at once on one core would
                all be late, begin anew, and be late again. Waiting for it is not held against the item.
            keep: whether the connection is kept for the next time.
        """
        self._left, self._spent = timeout_s, 0.0
        nonce, stale = secrets.token_hex(8), self._connection is None
        error: str | None = None
        try:
            if self._connection is not None:
                try:
                    with self._timed():
                        error = self._exchange(self._connection, nonce)
                except (http.client.BadStatusLine, ConnectionError, ssl.SSLError):
                    # Kept too long: the other side has closed it. That alone is no miss.
                    self.close()
                    stale = True
            if stale:
                error = self._ask_anew(nonce, turn)
        except Exception as failure:
            error = _reason(failure)
        if error is not None or not keep:
            self.close()
        return Echo(error, self._spent * 1000.0)

    def _ask_anew(self, nonce: str, turn: AbstractContextManager[Any]) -> str | None:
        self._connection = connection = _Connection(parse(self.url), self._networks, self._context)
        with self._timed("timeout_connect"):
            connection.connect()
        with turn, self._timed("timeout_tls"):
            connection.secure()
        with self._timed():
            return self._exchange(connection, nonce)

    @contextlib.contextmanager
    def _timed(self, error: str = "timeout") -> Iterator[None]:
        begun = time.monotonic()
        try:
            with gevent.Timeout(max(0.001, self._left), _TimedOut(error)):
                yield
        finally:
            spent = time.monotonic() - begun
            self._left, self._spent = self._left - spent, self._spent + spent

    def _exchange(self, connection: Any, nonce: str) -> str | None:
        target = parse(self.url).target
        connection.request(
            "GET",
            f"{target}{'&' if '?' in target else '?'}nonce={nonce}",
            headers={"Accept": "application/json", "User-Agent": "smartfit-prober"},
        )
        answer = connection.getresponse()
        if answer.status != 200:
            return f"status_{answer.status}"
        body = answer.read(MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            return "too_long"
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return "not_json"
        if not isinstance(document, dict) or document.get("nonce") != nonce:
            return "wrong_nonce"
        if answer.will_close or not answer.isclosed():
            self.close()
        return None


def _addresses(host: str) -> list[str]:
    """Addresses of a host; what is one already is not looked up: gevent does that in a few threads, one after the other."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(to[0]) for _, _, _, _, to in found]


def _reason(failure: Exception) -> str:
    match failure:
        case _TimedOut():
            return str(failure)
        case BadAddress():
            return failure.code
        case ssl.SSLCertVerificationError():
            return "certificate"
        case ssl.SSLError():
            return "tls"
        case socket.gaierror():
            return "name"
        case ConnectionRefusedError():
            return "refused"
        case OSError():
            return "connection"
        case http.client.HTTPException() | UnicodeError():
            return "protocol"
    raise failure
