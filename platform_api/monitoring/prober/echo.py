"""Asking one item for an echo: GET <echo_url>?nonce=<hex>, and the same nonce must come back in JSON.

The standard library's HTTP client, because it does no more than it is told: no redirects, no proxies, no cookies, no
retries. The connection is kept between probes. The whole probe has one deadline, whatever the other side drips.
"""

import http.client
import json
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

from platform_api.monitoring.addresses import BadAddress, EchoUrl, allowed, parse
from platform_api.monitoring.settings import Network

MAX_ANSWER = 4096


@dataclass(frozen=True)
class Echo:
    """How a probe went. `error`: None for a good echo; else a reason code."""

    error: str | None
    rtt_ms: float


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates are checked, against `ca_file` alone where one is given."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


class _Connection(http.client.HTTPSConnection):
    """Connects to an address that was checked, under the name that the certificate must bear."""

    def __init__(self, url: EchoUrl, networks: Sequence[Network], context: ssl.SSLContext) -> None:
        super().__init__(url.host, url.port, context=context)
        self._networks, self._tls = networks, context

    def connect(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = [
            (family, address) for family, _, _, _, address in found if allowed(str(address[0]), self._networks)
        ]
        if not addresses:
            raise BadAddress("address_not_allowed", self.host)
        family, address = addresses[0]
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.connect(address)
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock.do_handshake()
        except BaseException:
            plain.close()
            self.close()
            raise


class Target:
    """An item as it is asked: its URL and the connection that is kept to it."""

    def __init__(self, url: str, networks: Sequence[Network], context: ssl.SSLContext) -> None:
        self.url = url
        self._networks, self._context = networks, context
        self._connection: _Connection | None = None

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ask(self, timeout_s: float, keep: bool = True) -> Echo:
        """Ask for one echo. Never raises.

        Args:
            timeout_s: for the whole of it: look-up, handshake, answer.
            keep: whether the connection is kept for the next time.
        """
        begun = time.monotonic()
        error: str | None = "timeout"
        with gevent.Timeout(timeout_s, False):
            error = self._attempt()
        if error is not None or not keep:
            self.close()
        return Echo(error, (time.monotonic() - begun) * 1000.0)

    def _attempt(self) -> str | None:
        nonce = secrets.token_hex(8)
        try:
            if self._connection is not None:
                try:
                    return self._exchange(self._connection, nonce)
                except (http.client.BadStatusLine, ConnectionError, ssl.SSLError):
                    # Kept too long: the other side has closed it. That alone is no miss.
                    self.close()
            self._connection = _Connection(parse(self.url), self._networks, self._context)
            return self._exchange(self._connection, nonce)
        except BadAddress as error:
            return error.code
        except ssl.SSLCertVerificationError:
            return "certificate"
        except ssl.SSLError:
            return "tls"
        except socket.gaierror:
            return "name"
        except ConnectionRefusedError:
            return "refused"
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return "connection" if isinstance(error, OSError) else "protocol"

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
