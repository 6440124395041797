"""The border: what is taken off a request before anything reads it, and the trace that begins here."""

from typing import Any

from infra.gateway.accesslog import SERVICE
from infra.gateway.description import Address, Gateway

Json = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
COLLECTOR = "collector"
# Headers by which services are told things that only the gateway knows. Envoy sets those of its own afterwards.
RESERVED_PREFIXES = ("x-smartfit-", "x-envoy-")
RESERVED = ("x-request-id", "forwarded", "x-real-ip", "x-original-url", "x-rewrite-url")


def foreign_headers(gateway: Gateway) -> Json:
    """Removes reserved headers from outside, before the address of the client is read from any."""
    forwarded: Json = {"prefix": "x-forwarded-", "ignore_case": True}
    if gateway.proxies_before:
        # RE2 has no look-ahead: everything that begins with another letter than "for" and "proto" do.
        forwarded = {"safe_regex": {"regex": "x-forwarded-([^fp].*|prefix|port)"}}
    prefixes = ({"prefix": prefix, "ignore_case": True} for prefix in RESERVED_PREFIXES)
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [
                *({"remove_on_match": {"key_matcher": matcher}} for matcher in (*prefixes, forwarded)),
                *({"remove": name} for name in RESERVED),
            ],
        },
    }


def tracing(gateway: Gateway) -> Json:
    """W3C trace context: the caller's `traceparent` goes on, and one is made where there is none."""
    # Envoy wants an exporter; without a collector its cluster is empty and spans of the gateway are dropped.
    where = gateway.collector or Address("collector", 4318)
    uri = f"http://{where.host}:{where.port}/v1/traces"
    return {
        # Who begins a trace decides whether it is recorded; the services follow (parentbased_always_on).
        "random_sampling": {"value": gateway.traced_percent},
        # Envoy's own tag has the query, in which a secret may be.
        "custom_tags": [{"tag": "http.url", "value": "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ)%"}],
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{_TYPE}.config.trace.v3.OpenTelemetryConfig",
                "service_name": SERVICE,
                "http_service": {"http_uri": {"uri": uri, "cluster": COLLECTOR, "timeout": "1s"}},
            },
        },
        "spawn_upstream_span": False,
    }
