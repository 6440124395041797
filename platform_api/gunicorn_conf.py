"""gunicorn for the REST APIs, wherever they run: `gunicorn -c python:platform_api.gunicorn_conf 'platform_api.app:create_app()'`.

Told to stop (SIGTERM), it first says so at /readyz for SMARTFIT_DRAIN_SECONDS and answers as before: the gateway, which asks there,
sends it nothing new. Only then the socket closes, and what is still in flight may finish. A second SIGTERM ends the waiting.
"""

from __future__ import annotations

import gc
import os
import signal
import ssl
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from prometheus_client import multiprocess
from pydantic import Field

from platform_api.core import draining
from platform_api.core.addresses import ProxySettings
from platform_api.core.internal_tls import internal_tls
from platform_api.core.settings import SettingsError, load
from platform_api.core.telemetry.logs import gunicorn_logger

METRICS = "PROMETHEUS_MULTIPROC_DIR"


class ApiServerSettings(ProxySettings):
    """How the REST APIs are served (`SMARTFIT_<NAME>`)."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_workers: int = Field(
        default=1, ge=1, le=64, description="Processes. Each holds the models and its own connections to the databases."
    )
    api_threads: int = Field(
        default=16, ge=1, le=256, description="Requests at once in a process; it may hold as many database connections."
    )
    api_worker: Literal["gthread", "gevent"] = Field(
        default="gthread",
        description="How requests are served: by threads; or by gevent, for pages that stay open to hear what is new.",
    )
    api_service: str = Field(
        default="smartfit-api",
        pattern=r"^[a-z][a-z-]*$",
        description="Name in the server's own log lines, which come before there is an application.",
    )
    api_timeout_s: int = Field(default=60, ge=1, description="A process that does not stir for so long is replaced.")
    api_graceful_s: int = Field(
        default=30, ge=1, description="Seconds that requests in flight have to finish once the socket is closed."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="Seconds between the first sign of the end at /readyz and the closing of the socket: longer than the"
        " gateway takes to see it (it asks every 2 s, and the first such answer counts).",
    )


_settings = load(ApiServerSettings)
if _settings.api_workers > 1 and not os.environ.get(METRICS):
    raise SettingsError(
        f"{METRICS}: 프로세스가 여럿이면 폴더를 지정하세요 (not set; several processes share their figures in a folder)"
    )

logger_class = gunicorn_logger(_settings.api_service, _settings.log_level)
bind = (
    f"[{_settings.api_host}]:{_settings.api_port}"
    if ":" in _settings.api_host
    else (f"{_settings.api_host}:{_settings.api_port}")
)
worker_class = _settings.api_worker
workers = _settings.api_workers
threads = _settings.api_threads
worker_connections = 2000
timeout = _settings.api_timeout_s
graceful_timeout = _settings.api_graceful_s
# Connections are kept longer than the gateway keeps them idle (30 s), so that none closes under a request.
keepalive = 75
# The models' libraries start threads, which do not survive a fork.
preload_app = False
# Nobody talks to the process but its supervisor, by signals.
control_socket_disable = True
# Signs of life of the workers: in memory where there is some, since a disk may hang.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
forwarded_allow_ips = _settings.trusted_proxies

_tls = internal_tls()
if _tls.internal_cert_file:
    # Only those who show a certificate of the services' authority get in: the gateway, the other services, who measures.
    certfile, keyfile = map(str, (_tls.internal_cert_file, _tls.internal_key_file))
    ca_certs = str(_tls.internal_ca_file)
    cert_reqs = ssl.CERT_REQUIRED


def on_starting(_server: Any) -> None:
    """Figures of processes that are gone are nobody's."""
    if METRICS in os.environ:
        folder = Path(os.environ[METRICS])
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.db"):
            file.unlink()


def when_ready(server: Any) -> None:
    """From here on SIGTERM drains first."""
    draining.end()

    def stop(*_: object) -> None:
        server.signal(signal.SIGTERM, None)

    def drain(_number: int, _frame: FrameType | None) -> None:
        if draining.under_way() or not _settings.drain_seconds:
            stop()
        else:
            draining.begin()
            signal.setitimer(signal.ITIMER_REAL, _settings.drain_seconds)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, drain)


def post_worker_init(_worker: Any) -> None:
    """What the application is made of is there to stay: a full garbage collection, in which nobody is answered, need not go
    through it each time (170,000 objects, 0.1 s)."""
    gc.collect()
    gc.freeze()


def child_exit(_server: Any, worker: Any) -> None:
    """A process that is gone holds no connections any more."""
    if METRICS in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
