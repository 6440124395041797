"""`python -m platform_api.migrate`: brings the databases of SMARTFIT_DOMAINS to the newest revision, for a job or a container.

Safe to run at every start and beside another: each database is migrated in one transaction under a lock, so whoever comes second
waits and finds nothing left to do. A database that is not there yet is waited for; one that refuses is named, and nothing of it changed.

The first operator and the service clients come after it, by `python -m platform_api.auth.bootstrap`.
"""

import sys
import time

import structlog
from pydantic import Field
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from platform_api.app import chosen_domains
from platform_api.core.database import ping
from platform_api.core.migrations import upgrade
from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.telemetry import configure_logging

log = structlog.get_logger(__name__)
AGAIN_S = 1.0


class MigrationSettings(Settings):
    """Of the migrations (`SMARTFIT_<NAME>`)."""

    migrations_wait_s: float = Field(default=60.0, ge=0, description="How long a database that is away is waited for.")


def main() -> None:
    """Exit status 0: all are at the newest revision; 1: one could not be migrated; 2: a setting is wrong."""
    try:
        settings = load(MigrationSettings)
        configure_logging("smartfit-migrations", settings.log_level)
        domains = chosen_domains()
        for domain in domains:
            _migrate(domain, time.monotonic() + settings.migrations_wait_s)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    log.info("migrated", domains=domains)


def _migrate(domain: str, give_up_at: float) -> None:
    try:
        _wait(domain, give_up_at)
        upgrade(domain)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip()
        sys.stderr.write(f"{domain}: 데이터베이스를 옮기지 못했습니다 (cannot migrate the database): {reason}\n")
        sys.exit(1)


def _wait(domain: str, give_up_at: float) -> None:
    while True:
        try:
            ping(domain)
        except OperationalError:
            if time.monotonic() > give_up_at:
                raise
            log.info("waiting_for_database", domain=domain)
            time.sleep(AGAIN_S)
        else:
            return


if __name__ == "__main__":
    main()
