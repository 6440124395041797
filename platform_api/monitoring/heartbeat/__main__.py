"""`python -m platform_api.monitoring.heartbeat`: the heartbeat server, until SIGTERM."""

from gevent import monkey

monkey.patch_all()

import structlog  # noqa: E402

from platform_api.core.settings import load  # noqa: E402
from platform_api.core.telemetry import configure_logging, configure_tracing, machine  # noqa: E402
from platform_api.monitoring import green  # noqa: E402
from platform_api.monitoring.heartbeat.intake import Intake  # noqa: E402
from platform_api.monitoring.heartbeat.server import HeartbeatServer  # noqa: E402
from platform_api.monitoring.settings import HeartbeatSettings  # noqa: E402

SERVICE = "smartfit-heartbeat"
FILES_KEPT = 256
"""Open files that are not for devices: the database, logs, health."""


def main() -> None:
    """Run until told to stop, then let lines in hand be answered."""
    settings = load(HeartbeatSettings)
    configure_logging(SERVICE, settings.log_level)
    configure_tracing(SERVICE)
    green.make_psycopg2_cooperative()
    most = min(settings.heartbeat_max_connections, max(16, green.raise_file_limit() - FILES_KEPT))
    server = HeartbeatServer(settings, Intake(settings), most)
    server.start()
    machine.certificate_loaded("heartbeat", settings.heartbeat_tls_cert_file)
    address = (settings.heartbeat_health_host, settings.heartbeat_health_port)
    health = green.serve_health(SERVICE, address, {"listening": server.alive})
    green.until_told_to_stop()
    server.stop()
    health.stop()
    structlog.get_logger(__name__).info("stopped")


if __name__ == "__main__":
    main()
