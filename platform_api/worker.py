"""The process that moves events: `python -m platform_api.worker`. Health and metrics on SMARTFIT_WORKER_PORT."""

import importlib
import importlib.util
import signal
import threading
from collections.abc import Iterable
from typing import Literal

import structlog
from flask import Flask
from werkzeug.serving import make_server

from platform_api.app import chosen_domains, installed_domains
from platform_api.core.events.bus import Bus
from platform_api.core.events.bus.local import LocalBus
from platform_api.core.events.bus.rabbitmq import RabbitBus
from platform_api.core.events.registry import all_subscribers
from platform_api.core.events.worker import Worker
from platform_api.core.health import health_blueprint
from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument

log = structlog.get_logger(__name__)


class WorkerSettings(Settings):
    """Settings of the worker process."""

    worker_host: str = "127.0.0.1"
    worker_port: int = 8446
    bus: Literal["local", "rabbitmq"] = "local"
    rabbitmq_url: str = ""
    """One or more amqp:// URLs, comma-separated: the nodes of a cluster."""


def import_handlers(domains: Iterable[str]) -> None:
    """Import what `domains` register: handlers of events and periodic jobs."""
    for domain in domains:
        for name in ("events", "jobs"):
            if importlib.util.find_spec(f"platform_api.{domain}.{name}"):
                importlib.import_module(f"platform_api.{domain}.{name}")


def _bus(settings: WorkerSettings) -> Bus:
    if settings.bus == "local":
        return LocalBus()
    if not settings.rabbitmq_url:
        raise SettingsError("SMARTFIT_RABBITMQ_URL: 설정이 없습니다 (not set; SMARTFIT_BUS=rabbitmq needs it)")
    return RabbitBus(settings.rabbitmq_url, all_subscribers())


def main() -> None:
    """Run until SIGTERM or SIGINT, then let what is in hand finish."""
    settings = load(WorkerSettings)
    configure_logging("smartfit-worker", settings.log_level)
    configure_tracing("smartfit-worker")
    domains = chosen_domains()
    # The local bus delivers here, to the domains of this process. At the broker every subscriber has a queue, declared
    # before anything is published, whoever consumes it where.
    import_handlers(domains if settings.bus == "local" else installed_domains())
    worker = Worker(domains, _bus(settings))
    worker.start()

    app = Flask("worker")
    instrument(app, "smartfit-worker")
    app.register_blueprint(health_blueprint("smartfit-worker", {"threads": worker.alive}))
    server = make_server(settings.worker_host, settings.worker_port, app, threaded=True)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("started", domains=domains)
    stop.wait()
    worker.stop()
    server.shutdown()
    log.info("stopped")


if __name__ == "__main__":
    main()
