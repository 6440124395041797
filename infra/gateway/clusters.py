"""The processes behind the gateway: how they are found, shared out, watched and spared."""

from typing import Any

from infra.gateway.certificates import towards
from infra.gateway.description import Address, Breaker, Gateway

Json = dict[str, Any]
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(name: str, addresses: tuple[Address, ...], gateway: Gateway) -> Json:
    """One cluster. Numeric addresses are fixed; a name stands for every address that DNS gives for it (STRICT_DNS)."""
    fixed = all(address.host.replace(".", "").isdigit() or ":" in address.host for address in addresses)
    rendered: Json = {
        "name": name,
        "type": "STATIC" if fixed else "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address(each)}} for each in addresses]}],
        },
        "circuit_breakers": _circuit_breakers(gateway.breakers.get(name, gateway.breaker)),
        "outlier_detection": _outliers(),
        "typed_extension_protocol_options": {
            _HTTP: {
                "@type": f"type.googleapis.com/{_HTTP}",
                # Shorter than the servers keep a connection, so that none is used as it closes.
                "common_http_protocol_options": {"idle_timeout": "30s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }
    if gateway.upstream and name not in gateway.upstream.plain and addresses:
        rendered["transport_socket"] = towards(gateway.upstream, addresses, gateway.secrets)
    if not fixed:
        rendered |= {"dns_refresh_rate": "5s", "respect_dns_ttl": True, "dns_lookup_family": "V4_PREFERRED"}
    path = gateway.health.get(name, "/readyz")
    # With one fixed address there is nowhere else to go, whatever its health.
    if path and not (fixed and len(addresses) == 1):
        rendered["health_checks"] = [_health_check(path)]
        # Whoever DNS names no more is gone, even if somebody answers at that address: it may be another's by then.
        rendered["ignore_health_on_host_removal"] = True
    return rendered


def socket_address(address: Address) -> Json:
    """An address as Envoy writes it."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _circuit_breakers(breaker: Breaker) -> Json:
    """Beyond these a request is answered 503 at once: one slow service holds nothing that the others need."""
    thresholds: Json = {
        "priority": "DEFAULT",
        "track_remaining": True,
        "max_connections": breaker.max_connections,
        "max_pending_requests": breaker.max_pending_requests,
        "max_requests": breaker.max_requests,
        "retry_budget": {
            "budget_percent": {"value": breaker.retry_percent},
            "min_retry_concurrency": breaker.min_retries,
        },
    }
    if breaker.host_connections is None:
        return {"thresholds": [thresholds]}
    each = {"priority": "DEFAULT", "max_connections": breaker.host_connections}
    return {"thresholds": [thresholds], "per_host_thresholds": [each]}


def _outliers() -> Json:
    """Only what the process could not answer counts; a 500 of one handler says nothing about the host."""
    return {
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "interval": "2s",
        "base_ejection_time": "10s",
        "max_ejection_percent": 50,
    }


def _health_check(path: str) -> Json:
    return {
        # One that says it is stopping (503) is out at once; one that is silent only after a while: a machine that stands still for
        # some seconds must not take all of its instances out together. Deaths are found sooner, by the requests (see _outliers).
        "timeout": "3s",
        "interval": "2s",
        "no_traffic_interval": "2s",
        "unhealthy_interval": "1s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }
