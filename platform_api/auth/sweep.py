"""`python -m platform_api.auth.sweep`: delete the objects a crash or a silent store left behind. For cron, hourly."""

from __future__ import annotations

import structlog

from platform_api.auth.objects import sweep
from platform_api.core.settings import Settings, load
from platform_api.core.telemetry import configure_logging

log = structlog.get_logger(__name__)


def main() -> None:
    """Sweep until nothing is due."""
    configure_logging("smartfit-auth-sweep", load(Settings).log_level)
    total = 0
    while swept := sweep():
        total += swept
        if swept < 200:
            break
    log.info("swept", objects=total)


if __name__ == "__main__":
    main()
