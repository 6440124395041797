"""A line of JSON for every request, on stdout, with the names of the Elastic Common Schema as the services have them.

Without the query and without headers: both may hold a secret. What a request has not (an upstream, a trace) is left out.
"""

from collections.abc import Mapping
from typing import Any

from platform_api.core.telemetry.ecs import VERSION

SERVICE = "gateway"
_LINE = {
    "@timestamp": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "log.level": "info",
    "message": "%REQ(:METHOD)% %PATH(NQ)% %RESPONSE_CODE%",
    "ecs.version": VERSION,
    "service.name": SERVICE,
    "event.dataset": f"{SERVICE}.access",
    "event.action": "request",
    "event.duration": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:ns)%",
    "event.reason": "%RESPONSE_CODE_DETAILS%",
    "http.request.id": "%REQ(X-REQUEST-ID)%",
    "http.request.method": "%REQ(:METHOD)%",
    "http.request.bytes": "%BYTES_RECEIVED%",
    "http.response.bytes": "%BYTES_SENT%",
    "http.response.status_code": "%RESPONSE_CODE%",
    "url.path": "%PATH(NQ)%",
    "trace.id": "%TRACE_ID%",
    "client.ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "smartfit.attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "smartfit.flags": "%RESPONSE_FLAGS%",
    "smartfit.upstream": "%UPSTREAM_HOST%",
}
FIELDS: Mapping[str, str] = {
    "client.ip": "ip",
    "http.request.bytes": "long",
    "http.response.bytes": "long",
    "smartfit.flags": "keyword",
    "smartfit.upstream": "keyword",
}
"""Fields, and their types in Elasticsearch, that no service writes; all others are in platform_api.core.telemetry.ecs."""


def access_log() -> dict[str, Any]:
    """The access logger of Envoy's connection manager."""
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": _LINE, "omit_empty_values": True},
        },
    }


def fields() -> frozenset[str]:
    """The fields a line may have."""
    return frozenset(_LINE)
