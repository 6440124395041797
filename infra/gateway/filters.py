"""What every request passes, in this order: headers, rate, token, size, route."""

from typing import Any

from infra.gateway.description import Gateway, Rate

Json = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
RATE_FILTER = "envoy.filters.http.local_ratelimit"
BUFFER_FILTER = "envoy.filters.http.buffer"
TOKEN_FILTER = "envoy.filters.http.jwt_authn"  # noqa: S105 (the name of a filter)
PROVIDER = "smartfit"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def http_filters(gateway: Gateway) -> list[Json]:
    """The filter chain."""
    return [
        {"name": "envoy.filters.http.header_mutation", "typed_config": _headers(gateway)},
        {"name": RATE_FILTER, "typed_config": rate_limit("general", gateway.limits.general, gateway)},
        {"name": TOKEN_FILTER, "typed_config": _tokens(gateway)},
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
        header("referrer-policy", "no-referrer"),
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
        "descriptors": [{"entries": [{"key": "remote_address"}], "token_bucket": bucket(rate.burst, rate.per_second)}],
        "max_dynamic_descriptors": gateway.limits.clients_remembered,
        "rate_limits": [{"actions": [{"remote_address": {}}]}],
        "response_headers_to_add": [header("retry-after", "1")],
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


def _tokens(gateway: Gateway) -> Json:
    """Access tokens are checked here by signature, issuer, audience and time; roles and objects by the domains."""
    jwt = gateway.jwt
    address = gateway.clusters[jwt.domain][0]
    return {
        "@type": f"{_TYPE}.jwt_authn.v3.JwtAuthentication",
        "providers": {
            PROVIDER: {
                "issuer": jwt.issuer,
                "audiences": [jwt.audience],
                "forward": True,
                "clock_skew_seconds": 5,
                "require_expiration": True,
                "jwt_cache_config": {"jwt_cache_size": 1000},
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
        },
        "requirement_map": {"token": {"provider_name": PROVIDER}},
    }
