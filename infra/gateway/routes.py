"""Routes of the description as an Envoy route configuration. The internal ones are refused before all others."""

from typing import Any

from infra.gateway.description import INTERNAL, Gateway, Route
from infra.gateway.filters import (
    BUFFER_FILTER,
    DATA_POLICY,
    RATE_FILTER,
    ROLE_FILTER,
    TOKEN_FILTER,
    header,
    operators_only,
    rate_limit,
)

Json = dict[str, Any]
_BUFFER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
_JWT_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig"

_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def route_configuration(gateway: Gateway) -> Json:
    """All routes; what matches none is 404."""
    refused = {
        "name": "internal",
        "match": {"safe_regex": {"regex": INTERNAL}},
        "direct_response": {"status": 404},
        "typed_per_filter_config": {TOKEN_FILTER: {"@type": _JWT_ROUTE, "disabled": True}},
    }
    alive = {
        "name": "alive",
        "match": {"path": "/healthz"},
        "direct_response": {"status": 200, "body": {"inline_string": '{"service": "gateway", "status": "ok"}\n'}},
        "response_headers_to_add": [header("content-type", "application/json")],
        "typed_per_filter_config": {TOKEN_FILTER: {"@type": _JWT_ROUTE, "disabled": True}},
    }
    routes = [rendered for route in gateway.routes for rendered in _routes(route, gateway)]
    return {
        "name": "platform",
        "virtual_hosts": [{"name": "platform", "domains": ["*"], "routes": [refused, alive, *routes]}],
    }


def _routes(route: Route, gateway: Gateway) -> list[Json]:
    """A route, once for methods that change nothing (they may be tried again) and once for the others."""
    readable = {*route.methods, "HEAD"} if "GET" in route.methods else set(route.methods)
    if not readable:
        return [_route(route, gateway, SAFE, safe=True), _route(route, gateway, frozenset(), safe=False)]
    parts = ((frozenset(readable & SAFE), True), (frozenset(readable - SAFE), False))
    return [_route(route, gateway, methods, safe) for methods, safe in parts if methods]


def _route(route: Route, gateway: Gateway, methods: frozenset[str], safe: bool) -> Json:
    match: Json = {"path": route.path} if route.path else {"prefix": route.prefix}
    if methods:
        match["headers"] = [{"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(sorted(methods))}}}]
    action: Json = {
        "cluster": route.domain,
        "timeout": f"{route.timeout_s:g}s",
        "retry_policy": {
            # Nothing has reached a worker in these cases, so any method may be tried again: a restart costs no request.
            # Where nothing is changed, an instance that dies over a request (`reset`) costs none either.
            "retry_on": "connect-failure,refused-stream,reset-before-request" + (",reset" if safe else ""),
            "num_retries": 8,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": _PREVIOUS_HOSTS},
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }
    if route.rewrite:
        action["regex_rewrite"] = {"pattern": {"regex": "^.*$"}, "substitution": route.rewrite}
    settings: Json = {TOKEN_FILTER: {"@type": _JWT_ROUTE, "requirement_name": "token"}}
    if route.public:
        settings = {TOKEN_FILTER: {"@type": _JWT_ROUTE, "disabled": True}}
    if route.operators:
        settings[TOKEN_FILTER] = {"@type": _JWT_ROUTE, "requirement_name": "operator"}
        settings[ROLE_FILTER] = operators_only()
        action["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    if route.rate != "general":
        settings[RATE_FILTER] = rate_limit(route.rate, getattr(gateway.limits, route.rate), gateway)
    if route.max_body_bytes is not None:
        settings[BUFFER_FILTER] = {"@type": _BUFFER_ROUTE, "buffer": {"max_request_bytes": route.max_body_bytes}}
    rendered: Json = {"match": match, "route": action, "typed_per_filter_config": settings}
    if not route.page:
        rendered["response_headers_to_add"] = [header("content-security-policy", DATA_POLICY, "ADD_IF_ABSENT")]
    return rendered
