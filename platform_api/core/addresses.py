"""Where a request comes from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import cache

from flask import request
from pydantic import Field, field_validator

from platform_api.core.settings import Settings, load

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxySettings(Settings):
    """Whose word on addresses is believed."""

    trusted_proxies: str = Field(
        default="127.0.0.0/8,::1/128",
        description="Networks of our own gateways: only what they say in X-Forwarded-For is believed.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        networks(value)
        return value


def networks(value: str) -> list[Network]:
    """The networks in a comma-separated list. Raises ValueError where one is none."""
    return [ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip()]


def within(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an IP address lies in one of the networks; an IPv4 address in IPv6's clothes is what it is. Raises ValueError."""
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found.version == network.version and found in network for network in allowed)


@cache
def trusted_networks() -> tuple[Network, ...]:
    """Those of our own gateways, read once. Raises SettingsError."""
    return tuple(networks(load(ProxySettings).trusted_proxies))


def caller_address() -> str | None:
    """The client address of the present request."""
    return client_address(request.remote_addr, request.headers.get("X-Forwarded-For", ""), trusted_networks())


def client_address(peer: str | None, forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """The nearest address that is not one of our own gateways.

    Each gateway appends whom it was asked by to X-Forwarded-For. The list is read from the right while the one who
    says so is trusted; what stands further left anybody may have made up.
    """
    nearest = peer
    for said in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        asking = _parse(nearest)
        if asking is None or not any(asking in network for network in trusted) or _parse(said) is None:
            break
        nearest = said
    return nearest


def network_of(address: str | None) -> str:
    """The client address as far as one customer owns it: IPv4 whole, IPv6 as its /64."""
    parsed = _parse(address)
    if parsed is None:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return str(parsed)


def _parse(address: str | None) -> Address | None:
    try:
        return ipaddress.ip_address(address or "")
    except ValueError:
        return None
