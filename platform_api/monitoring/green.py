"""What the gevent processes of this domain share: a cooperative psycopg2, file limits, health, a graceful end.

`monkey.patch_all()` must run before anything else is imported, so it stands at the top of each `__main__`.
"""

import resource
import signal
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import psycopg2
import structlog
from flask import Flask
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from gevent.socket import wait_read, wait_write
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, set_wait_callback

from platform_api.core.health import health_blueprint
from platform_api.core.telemetry import instrument

log = structlog.get_logger(__name__)


def _wait(connection: Any, timeout: float | None = None) -> None:
    while True:
        state = connection.poll()
        if state == POLL_OK:
            return
        if state == POLL_READ:
            wait_read(connection.fileno(), timeout=timeout)
        elif state == POLL_WRITE:
            wait_write(connection.fileno(), timeout=timeout)
        else:
            raise psycopg2.OperationalError(f"unexpected state of the connection: {state}")


def make_psycopg2_cooperative() -> None:
    """Let other greenlets run while one waits for PostgreSQL (psycopg2 documentation, "Support for coroutine libraries")."""
    set_wait_callback(_wait)


def raise_file_limit() -> int:
    """Allow this process as many open files as it may have. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def serve_health(service: str, address: tuple[str, int], checks: Mapping[str, Callable[[], None]]) -> WSGIServer:
    """/healthz, /readyz and /metrics at `address`, beside the process's own work."""
    app = Flask(service)
    instrument(app, service)
    app.register_blueprint(health_blueprint(service, checks))
    server = WSGIServer(address, app, log=None, error_log=None)
    server.start()
    return server


def until_told_to_stop() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(name, stop.set)
    stop.wait()
