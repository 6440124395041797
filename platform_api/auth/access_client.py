"""The internal routes of access and the other domains, called under a token that auth issues to itself, in the API and in the
worker."""

from __future__ import annotations

from functools import cache

import requests
from flask import Flask
from requests.auth import AuthBase

from platform_api.auth.settings import settings
from platform_api.core.http import Client, client
from platform_api.core.internal_tls import internal_tls
from platform_api.core.security import tokens


@cache
def issuer() -> Flask:
    """What tokens are issued by: the worker, which calls them as well, has no application of its own."""
    app = Flask("auth-tokens")
    tokens.init_app(app)
    return app


class _OwnToken(AuthBase):
    """Auth issues service tokens, so it need not fetch its own."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with issuer().app_context():
            token = tokens.issue_access_token(settings().auth_client_id, ["service"])
        request.headers["Authorization"] = f"Bearer {token}"
        return request


@cache
def access_service() -> Client:
    """The client of the access domain's internal routes."""
    chosen, tls = settings(), internal_tls()
    return client(
        "access",
        chosen.access_internal_url,
        timeout=(min(2.0, chosen.access_timeout_s), chosen.access_timeout_s),
        verify=tls.verify,
        certificate=tls.pair,
        auth=_OwnToken(),
    )


@cache
def domain_service(domain: str) -> Client:
    """The client of a domain's internal routes, for exports: where the setting says, or else where access is."""
    chosen, tls = settings(), internal_tls()
    return client(
        domain,
        chosen.domains_internal_url.replace("{domain}", domain) or chosen.access_internal_url,
        timeout=(2.0, chosen.exports_timeout_s),
        verify=tls.verify,
        certificate=tls.pair,
        auth=_OwnToken(),
    )
