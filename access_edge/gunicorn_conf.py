"""gunicorn for a gate node: one process (one model, one log, one lock on the state folder), threads for the kiosks."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

from access_edge.settings import EdgeSettings
from platform_api.core.settings import load
from platform_api.core.telemetry.logs import gunicorn_logger

_settings = load(EdgeSettings)

logger_class = gunicorn_logger("access-edge", _settings.log_level)
bind = f"{_settings.edge_host}:{_settings.edge_port}"
worker_class = "gthread"
workers = 1
threads = _settings.edge_threads
# Kiosks keep their connection: a TLS handshake costs more than a whole answer.
keepalive = 75
timeout = 60
# Requests in flight finish; a recognition with an unreachable gate takes some two seconds.
graceful_timeout = 10
preload_app = False
# Nobody talks to the process but its supervisor, by signals.
control_socket_disable = True
limit_request_line = 2048
limit_request_fields = 40
certfile = str(_settings.edge_tls_cert_file) if _settings.edge_tls_cert_file else None
keyfile = str(_settings.edge_tls_key_file) if _settings.edge_tls_key_file else None


def ssl_context(_config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.2 or newer."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def post_fork(server: Any, _worker: Any) -> None:
    """Take the priority that was asked for: whoever stands at the gate waits for milliseconds, other programs need not.

    Real time rather than nice(1), which Linux weighs only within a session. One process of lowest real-time priority
    cannot take the machine: the kernel keeps 5 % of it for the others.
    """
    if not _settings.edge_realtime:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        server.log.warning(
            "SMARTFIT_EDGE_REALTIME: 권한이 없어 보통 우선순위로 실행합니다 (not permitted: CAP_SYS_NICE or RLIMIT_RTPRIO)"
        )


def worker_exit(_server: Any, worker: Any) -> None:
    """End the node's loops and close its databases."""
    node = getattr(worker.app.callable, "extensions", {}).get("edge")
    if node is not None:
        node.stop()
