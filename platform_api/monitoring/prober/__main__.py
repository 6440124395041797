"""`python -m platform_api.monitoring.prober`: a worker of the prober, until SIGTERM. As many may run as there is work for."""

from gevent import monkey

monkey.patch_all()

import structlog  # noqa: E402

from platform_api.core.settings import load  # noqa: E402
from platform_api.core.telemetry import configure_logging, configure_tracing  # noqa: E402
from platform_api.monitoring import green  # noqa: E402
from platform_api.monitoring.prober.worker import Worker  # noqa: E402
from platform_api.monitoring.settings import ProberSettings  # noqa: E402

SERVICE = "smartfit-prober"


def main() -> None:
    """Run until told to stop, then write down what was found and give the shards back."""
    settings = load(ProberSettings)
    configure_logging(SERVICE, settings.log_level)
    configure_tracing(SERVICE)
    green.make_psycopg2_cooperative()
    files = green.raise_file_limit()
    # What is left for connections that are kept, beside those that are being made.
    worker = Worker(settings, kept=max(0, files - 2 * settings.echo_concurrency - 256))
    worker.start()
    address = (settings.prober_health_host, settings.prober_health_port)
    health = green.serve_health(SERVICE, address, {"probing": worker.alive})
    green.until_told_to_stop()
    worker.stop()
    health.stop()
    structlog.get_logger(__name__).info("stopped")


if __name__ == "__main__":
    main()
