"""A database for each domain (DD-03): engines, pools and the unit of work.

A domain finds its own database by `SMARTFIT_<DOMAIN>_DATABASE_URL` and no other; nothing here can join two.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import structlog
from prometheus_client import Gauge
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from platform_api.core.settings import SettingsError, required
from platform_api.core.telemetry.tracing import configure_tracing

log = structlog.get_logger(__name__)

DOMAINS = ("auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops")

IN_USE = Gauge(
    "smartfit_database_connections_in_use", "Connections taken from the pool", ["domain"], multiprocess_mode="livesum"
)
LIMIT = Gauge(
    "smartfit_database_connections_limit", "Connections that the pool may give", ["domain"], multiprocess_mode="livesum"
)
POOL_SIZE = 5

_engines: dict[str, Engine] = {}
_lock = threading.Lock()


def variable(domain: str) -> str:
    """The setting that names the database of `domain`."""
    return f"SMARTFIT_{domain.upper()}_DATABASE_URL"


def configure(domain: str, url: str) -> Engine:
    """Make the engine of `domain`, in place of the one it had.

    Raises:
        SettingsError: not a PostgreSQL URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(f"{variable(domain)}: 데이터베이스 주소가 아닙니다 (not a database URL)") from error
    if parsed.drivername != "postgresql+psycopg2":
        raise SettingsError(
            f"{variable(domain)}: postgresql+psycopg2:// 로 시작해야 합니다 (must start with postgresql+psycopg2://)"
        )
    overflow = int(os.environ.get("SMARTFIT_DATABASE_POOL_OVERFLOW", "15"))
    engine = create_engine(
        parsed,
        pool_size=POOL_SIZE,
        max_overflow=overflow,
        pool_timeout=5,
        pool_recycle=1800,
        # A pooled connection may have died with its server (kill -9, failover): ask before use.
        pool_pre_ping=True,
        # Errors end in logs; what was being written must not.
        hide_parameters=True,
        connect_args={
            "application_name": f"smartfit-{domain}",
            "connect_timeout": 5,
            "options": "-c timezone=UTC -c lock_timeout=5s -c statement_timeout=30s"
            " -c idle_in_transaction_session_timeout=60s",
        },
    )
    configure_tracing(f"smartfit-{domain}", engine=engine)
    _measure(engine, domain, POOL_SIZE + overflow)
    with _lock:
        before = _engines.pop(domain, None)
        _engines[domain] = engine
    if before is not None:
        before.dispose()
    return engine


def _measure(engine: Engine, domain: str, limit: int) -> None:
    in_use = IN_USE.labels(domain)
    LIMIT.labels(domain).set(limit)
    event.listen(engine, "checkout", lambda *_: in_use.inc())
    for back in ("checkin", "detach"):
        event.listen(engine, back, lambda *_: in_use.dec())


def database(domain: str) -> Engine:
    """The engine of `domain`, made at first use from its setting.

    Raises:
        SettingsError: the setting is missing or wrong.
    """
    engine = _engines.get(domain)
    return engine if engine is not None else configure(domain, required(variable(domain)))


def dispose_all() -> None:
    """Close all pools (before a fork, at the end of a test)."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.dispose()


def ping(domain: str) -> None:
    """Raise unless the database of `domain` answers."""
    with database(domain).connect() as connection:
        connection.execute(text("SELECT 1"))


@contextlib.contextmanager
def unit_of_work(domain: str) -> Iterator[Session]:
    """A session whose work is kept whole at the end, or not at all when an error leaves the context.

    Callables given to `on_commit` run after the commit, those given to `on_rollback` after a rollback.
    """
    with Session(database(domain), expire_on_commit=False) as session:
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            _run(session, "on_rollback")
            raise
        _run(session, "on_commit")


def in_batches(domain: str, step: Callable[[Session], int]) -> int:
    """Do `step` in one transaction after another until it says that nothing was left to do. Returns the sum of what it said."""
    done = 0
    while True:
        with unit_of_work(domain) as session:
            count = step(session)
        if count <= 0:
            return done
        done += count


def on_commit(session: Session, action: Callable[[], object]) -> None:
    """Do `action` once the transaction is kept: remove files that it no longer names."""
    session.info.setdefault("on_commit", []).append(action)


def on_rollback(session: Session, action: Callable[[], object]) -> None:
    """Do `action` when the transaction is lost: remove files written for it."""
    session.info.setdefault("on_rollback", []).append(action)


def _run(session: Session, when: str) -> None:
    for action in session.info.pop(when, []):
        try:
            action()
        except Exception:
            # The transaction's outcome stands; what could not be cleaned up is told.
            log.exception("after_transaction", when=when)
