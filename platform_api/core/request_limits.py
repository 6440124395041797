"""How many requests a minute an account may make, or, without a token, a client address; over all processes.

The gateway limits bursts, each instance by itself; this is the limit that holds however many gateways there are. Services
and gate nodes have none: they are ours.
"""

import math

from flask import Flask, current_app, request
from pydantic import Field

from platform_api.core.addresses import caller_address, network_of, trusted_networks
from platform_api.core.cache import RateLimit, shared
from platform_api.core.errors import Problem
from platform_api.core.settings import Settings, load

EXTENSION = "smartfit_request_limits"
_FREE = ("/healthz", "/readyz", "/metrics")


class RequestLimitSettings(Settings):
    """Settings of the limits."""

    account_requests_per_minute: int = Field(default=1200, ge=0, description="Of one account; 0 sets no limit.")
    address_requests_per_minute: int = Field(
        default=1200, ge=0, description="Of one client address, without a token; 0 sets no limit."
    )


def init_app(app: Flask) -> None:
    """Count the requests of `app`. Those with a token are counted when it was found good (see `count_account`).

    Raises:
        SettingsError: a setting is wrong.
    """
    settings = load(RequestLimitSettings)
    for cached in (shared, trusted_networks):
        cached.cache_clear()
    trusted_networks()
    addresses = RateLimit("address", settings.address_requests_per_minute, shared())
    app.extensions[EXTENSION] = RateLimit("account", settings.account_requests_per_minute, shared())

    @app.before_request
    def count_address() -> None:
        if "Authorization" not in request.headers and request.path not in _FREE and "/internal/" not in request.path:
            _take(addresses, network_of(caller_address()))


def count_account(account: str) -> None:
    """Count a request of this account.

    Raises:
        Problem: 429 `too_many_requests` with Retry-After.
    """
    limit = current_app.extensions.get(EXTENSION)
    if limit is not None:
        _take(limit, account)


def _take(limit: RateLimit, who: str) -> None:
    if wait := limit.take(who):
        raise Problem(
            429,
            "too_many_requests",
            "요청이 너무 많습니다. 잠시 후 다시 시도하세요.",
            "Too many requests; try again in a moment.",
            headers={"Retry-After": str(math.ceil(wait))},
        )
