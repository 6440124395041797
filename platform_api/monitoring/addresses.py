"""Where equipment may be asked for an echo.

The URL comes from people and is called from inside, so it could be aimed at what only the inside can reach (SSRF, OWASP
A10:2021): only https, only GET, only addresses of allowed networks, no redirects, and the address that was checked is
the one connected to, so that a name cannot change its meaning between the check and the call (DNS rebinding).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from platform_api.core.addresses import Network, within

MAX_URL = 500


class BadAddress(Exception):
    """The URL or its address is not one to be asked. `code`: url_invalid, address_not_allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class EchoUrl:
    """An echo URL, taken apart. `target`: path and query, as the request names them."""

    host: str
    port: int
    target: str


def parse(url: str) -> EchoUrl:
    """Take an echo URL apart.

    Raises:
        BadAddress: `url_invalid`.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError as error:
        raise BadAddress("url_invalid", "not a URL") from error
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}')
    if len(url) > MAX_URL or not plain or parts.scheme != "https" or not host or parts.username is not None:
        raise BadAddress("url_invalid", "an https URL without user, in ASCII, is wanted")
    if parts.fragment or "%" in host or parts.port == 0:
        raise BadAddress("url_invalid", "no fragment, zone or port 0")
    return EchoUrl(host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address may be asked."""
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return not (found.is_multicast or found.is_unspecified) and within(str(found), networks)


def check(url: str, networks: Sequence[Network]) -> EchoUrl:
    """Take an echo URL apart; where its host is an address, that must be allowed (names are looked up when asked).

    Raises:
        BadAddress: see there.
    """
    parsed = parse(url)
    try:
        literal = str(ipaddress.ip_address(parsed.host))
    except ValueError:
        return parsed
    if not allowed(literal, networks):
        raise BadAddress("address_not_allowed", f"{literal} is not in an allowed network")
    return parsed
