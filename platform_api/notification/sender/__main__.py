"""`python -m platform_api.notification.sender`: a sender, until SIGTERM. Health and metrics on SMARTFIT_SENDER_PORT."""

import functools
import signal
import threading
from collections.abc import Callable

import structlog
from flask import Flask
from werkzeug.serving import make_server

from platform_api.core.database import ping
from platform_api.core.health import health_blueprint
from platform_api.core.settings import load
from platform_api.core.telemetry import configure_logging, configure_tracing, instrument
from platform_api.notification import vault
from platform_api.notification.sender.process import Sender, lanes
from platform_api.notification.settings import SenderSettings

SERVICE = "smartfit-sender"
log = structlog.get_logger(__name__)


def main() -> None:
    """Run until told to stop, then finish what is being sent."""
    settings = load(SenderSettings)
    configure_logging(SERVICE, settings.log_level)
    configure_tracing(SERVICE)
    vault.envelope()
    sender = Sender(lanes(settings))
    sender.start()

    app = Flask("sender")
    instrument(app, SERVICE)
    checks: dict[str, Callable[[], None]] = {
        "threads": sender.alive,
        "database": functools.partial(ping, "notification"),
    }
    app.register_blueprint(health_blueprint(SERVICE, checks))
    server = make_server(settings.sender_host, settings.sender_port, app, threaded=True)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("started", lanes=[lane.name for lane in sender.lanes])
    stop.wait()
    sender.stop()
    server.shutdown()
    log.info("stopped")


if __name__ == "__main__":
    main()
