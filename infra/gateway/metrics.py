"""Envoy's own figures for Prometheus, on a port of their own: of the admin interface this one path, and nothing else.

The admin interface can change and stop the gateway, so it listens on loopback alone; here a listener of Envoy's own asks it.
"""

from typing import Any

from infra.gateway.clusters import socket_address
from infra.gateway.description import Address, Gateway

Json = dict[str, Any]
ADMIN = "admin"
PATH = "/stats/prometheus"
_TYPE = "type.googleapis.com/envoy.extensions.filters"


def metrics_listener(address: Address) -> Json:
    """Answers GET of PATH, also as /metrics, and 404 to all else, queries included: they would be options of the admin's."""
    get: Json = {"name": ":method", "string_match": {"exact": "GET"}}
    routes = [
        {
            "match": {"path": path, "headers": [get, {"name": ":path", "string_match": {"exact": path}}]},
            "route": {"cluster": ADMIN, "timeout": "10s", "prefix_rewrite": PATH},
        }
        for path in (PATH, "/metrics")
    ]
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "metrics",
        "server_name": "smartfit",
        "normalize_path": True,
        "request_headers_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "120s", "max_headers_count": 50},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}}
        ],
        "route_config": {"virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": routes}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": "metrics",
        "address": socket_address(address),
        "filter_chains": [{"filters": filters}],
        # People's connections do not keep the scrape out, nor the scrape theirs.
        "ignore_global_conn_limit": True,
    }


def admin_cluster(gateway: Gateway) -> Json:
    """The admin interface of this Envoy."""
    endpoint = {"endpoint": {"address": socket_address(gateway.admin)}}
    return {
        "name": ADMIN,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": ADMIN, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
