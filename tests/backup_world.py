"""An installation's databases, objects and keys without its services, for the tests of backup and restore."""

import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local import credentials
from infra.local.backup.databases import DATABASES, counts
from infra.local.credentials import Credentials
from infra.local.postgres import PostgresServer, bootstrap
from infra.local.services import postgres_server
from infra.local.state import PORTS, Choices, State


@contextmanager
def place() -> Iterator[Path]:
    """A folder for installations and backups; not below pytest's own, which is closed to the database's user."""
    with tempfile.TemporaryDirectory(prefix="smartfit-backup-") as folder:
        yield Path(folder)


def prepared(folder: Path) -> tuple[State, Credentials]:
    """An installation before its first start, on ports that are free now."""
    state = State(folder)
    state.prepare()
    state.save(Choices(port_base=free_base()))
    return state, credentials.ensure(state)


def free_base() -> int:
    """A base of ports all of which are free, and below those that the system gives out by itself meanwhile."""
    while True:
        base = random.randrange(20_000, 26_000, 50)
        try:
            for port in range(base, base + len(PORTS) + 8):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base


@contextmanager
def served(state: State, held: Credentials) -> Iterator[PostgresServer]:
    """Its database server, with roles and databases."""
    server = postgres_server(state, held)
    server.durable = False
    server.start()
    try:
        bootstrap(server.admin_url, held.database_passwords())
        yield server
    finally:
        server.stop()


def rows(server: PostgresServer) -> dict[str, dict[str, int]]:
    """Rows of every table of every database."""
    return {name: counts(server.admin_url, name) for name in DATABASES}


def objects(state: State) -> dict[str, bytes]:
    """What lies in the object store."""
    files = (file for file in state.objects.rglob("*") if file.is_file())
    return {str(file.relative_to(state.objects)): file.read_bytes() for file in files}
