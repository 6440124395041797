"""What every request passes, in this order: headers, rate of the address, token, rate of the account, size, route."""

from typing import Any

from infra.gateway.description import OPERATOR_COOKIE, Gateway, Rate

Json = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
RATE_FILTER = "envoy.filters.http.local_ratelimit"
ACCOUNT_FILTER = "smartfit.account_ratelimit"
BUFFER_FILTER = "envoy.filters.http.buffer"
TOKEN_FILTER = "envoy.filters.http.jwt_authn"  # noqa: S105 (the name of a filter)
ROLE_FILTER = "envoy.filters.http.rbac"
PROVIDER = "smartfit"
REFUSED = "refused"
"""Key of the metadata of TOKEN_FILTER that holds {code, message} of a refusal."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def http_filters(gateway: Gateway) -> list[Json]:
    """The filter chain."""
    return [
        {"name": "envoy.filters.http.header_mutation", "typed_config": _headers(gateway)},
        {"name": RATE_FILTER, "typed_config": rate_limit("general", gateway.limits.general, gateway)},
        {"name": TOKEN_FILTER, "typed_config": _tokens(gateway)},
        {"name": ACCOUNT_FILTER, "typed_config": _account_limit(gateway)},
        # Without rules here: routes that are for some roles only have their own (`operators_only`).
        {"name": ROLE_FILTER, "typed_config": {"@type": f"{_TYPE}.rbac.v3.RBAC"}},
        # Takes a request in whole before a domain sees it: a slow client holds no worker of a domain.
        {
            "name": BUFFER_FILTER,
            "typed_config": {
                "@type": f"{_TYPE}.buffer.v3.Buffer",
                "max_request_bytes": gateway.limits.max_body_bytes,
            },
        },
        {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPE}.router.v3.Router"}},
    ]


def header(key: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    """A header to set."""
    return {"header": {"key": key, "value": value}, "append_action": action}


def _headers(gateway: Gateway) -> Json:
    """Security headers of every answer, the gateway's own included (a filter sees those, a route's headers do not)."""
    response = [
        header("strict-transport-security", f"max-age={gateway.tls.hsts_seconds}; includeSubDomains"),
        header("x-content-type-options", "nosniff"),
        header("x-frame-options", "DENY"),
        header("referrer-policy", "no-referrer", "ADD_IF_ABSENT"),
        header("cross-origin-resource-policy", "same-origin", "ADD_IF_ABSENT"),
        header("permissions-policy", "geolocation=(), microphone=()", "ADD_IF_ABSENT"),
        header("cache-control", "no-store", "ADD_IF_ABSENT"),
    ]
    return {
        "@type": f"{_TYPE}.header_mutation.v3.HeaderMutation",
        "mutations": {
            "response_mutations": [
                *({"append": item} for item in response),
                {"remove": "x-envoy-upstream-service-time"},
            ],
        },
    }


def rate_limit(name: str, rate: Rate, gateway: Gateway) -> Json:
    """A bucket of tokens for each client address; the least recently seen are forgotten beyond `clients_remembered`."""
    return _buckets(name, rate, gateway, "remote_address", {"remote_address": {}})


def _account_limit(gateway: Gateway) -> Json:
    """A bucket for each account, by the subject of the token that has just been checked; without one, none."""
    path = [{"key": claims} for claims in ("token", "sub")]
    subject = {
        "metadata": {
            "descriptor_key": "account",
            "metadata_key": {"key": TOKEN_FILTER, "path": path},
            "skip_if_absent": True,
        }
    }
    # The x-ratelimit headers tell of the address; a second set beside them would only confuse.
    return {
        **_buckets("account", gateway.limits.account, gateway, "account", subject),
        "enable_x_ratelimit_headers": "OFF",
    }


def _buckets(name: str, rate: Rate, gateway: Gateway, key: str, action: Json) -> Json:
    def bucket(burst: int, per_second: int) -> Json:
        return {"max_tokens": burst, "tokens_per_fill": per_second, "fill_interval": "1s"}

    everybody = 100  # the sum over all clients: only a bound for what the process can carry
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "@type": f"{_TYPE}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": f"rate_{name}",
        "token_bucket": bucket(rate.burst * everybody, rate.per_second * everybody),
        "filter_enabled": {**always, "runtime_key": f"rate.{name}.enabled"},
        "filter_enforced": {**always, "runtime_key": f"rate.{name}.enforced"},
        "descriptors": [{"entries": [{"key": key}], "token_bucket": bucket(rate.burst, rate.per_second)}],
        "max_dynamic_descriptors": gateway.limits.clients_remembered,
        "rate_limits": [{"actions": [action]}],
        "response_headers_to_add": [header("retry-after", "1")],
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


def operators_only() -> Json:
    """Rules of a route that only operators pass: their token's `roles` say so."""
    roles = {
        "filter": TOKEN_FILTER,
        "path": [{"key": "operator"}, {"key": "roles"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": "operator"}}}},
    }
    policy = {"permissions": [{"any": True}], "principals": [{"metadata": roles}]}
    rules = {"action": "ALLOW", "policies": {"operators": policy}}
    return {"@type": f"{_TYPE}.rbac.v3.RBACPerRoute", "rbac": {"rules": rules}}


def _tokens(gateway: Gateway) -> Json:
    """Access tokens are checked here by signature, issuer, audience and time; roles and objects by the domains.

    The second provider is that of pages without rights of their own: it takes the token from a cookie too, which is sent by
    no other site (SameSite=Strict), and shows the claims to the rules of the route.
    """
    page = {
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "from_cookies": [OPERATOR_COOKIE],
        "payload_in_metadata": "operator",
        # The page behind has no use for it.
        "forward": False,
    }
    return {
        "@type": f"{_TYPE}.jwt_authn.v3.JwtAuthentication",
        "providers": {
            PROVIDER: {**_provider(gateway), "payload_in_metadata": "token"},
            "operator": {**_provider(gateway), **page},
        },
        "requirement_map": {"token": {"provider_name": PROVIDER}, "operator": {"provider_name": "operator"}},
    }


def _provider(gateway: Gateway) -> Json:
    jwt = gateway.jwt
    address = gateway.clusters[jwt.domain][0]
    return {
        "issuer": jwt.issuer,
        "audiences": [jwt.audience],
        "forward": True,
        # Why a token is refused, for the replies: a key set that never came is not the caller's fault.
        "failed_status_in_metadata": REFUSED,
        "clock_skew_seconds": 5,
        "require_expiration": True,
        # No jwt_cache_config: what it remembers stays good after its key was taken out, until the token's end.
        "remote_jwks": {
            "http_uri": {
                "uri": f"http://{address.host}:{address.port}{jwt.jwks_path}",
                "cluster": jwt.domain,
                "timeout": "2s",
            },
            "cache_duration": f"{jwt.refresh_s}s",
            # Keys are fetched aside, before and between requests, and again quickly while auth is away.
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
    }
