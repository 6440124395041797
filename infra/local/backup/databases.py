"""Dumps of the databases by pg_dump, each in one snapshot, and their rows counted in that same snapshot."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import sql

from infra.local.backup.manifest import BackupError
from infra.local.backup.sealed import open_stream, seal_stream
from infra.local.postgres import DAGSTER, DOMAINS, binaries
from platform_api.core.encryption import DecryptionError, Envelope

DATABASES = tuple(f"sf_{name}" for name in (*DOMAINS, DAGSTER))
_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2
"""


def dump(admin_url: str, database: str, file: Path, envelope: Envelope) -> dict[str, int]:
    """Dump `database` into `file`, sealed. Returns the rows of each table in the snapshot that was dumped.

    Raises:
        BackupError: pg_dump failed.
    """
    with closing(psycopg2.connect(admin_url, dbname=database)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            (snapshot,) = cursor.fetchone() or ("",)
            _run("pg_dump", admin_url, database, ["--format=custom", f"--snapshot={snapshot}"], file, envelope)
            return _count(cursor)


def restore(admin_url: str, database: str, file: Path, envelope: Envelope) -> dict[str, int]:
    """Restore a dump into `database`, which is empty. Returns the rows of each table.

    Raises:
        BackupError: pg_restore failed, or the dump does not open.
    """
    _run("pg_restore", admin_url, database, ["--exit-on-error", "--single-transaction"], file, envelope)
    with closing(psycopg2.connect(admin_url, dbname=database)) as connection, connection.cursor() as cursor:
        # Planned well from the start, not after the first autovacuum.
        connection.autocommit = True
        cursor.execute("ANALYZE")
    return counts(admin_url, database)


def counts(admin_url: str, database: str) -> dict[str, int]:
    """Rows of each table, by `schema.table`."""
    with closing(psycopg2.connect(admin_url, dbname=database)) as connection, connection.cursor() as cursor:
        return _count(cursor)


def _count(cursor: psycopg2.extensions.cursor) -> dict[str, int]:
    found = {}
    cursor.execute(_TABLES)
    for schema, table in cursor.fetchall():
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)))
        found[f"{schema}.{table}"] = int((cursor.fetchone() or (0,))[0])
    return found


def _run(tool: str, admin_url: str, database: str, options: Iterable[str], file: Path, envelope: Envelope) -> None:
    address = urlsplit(admin_url)
    # The password goes by the environment: command lines can be seen by others.
    environment = {**os.environ, "PGPASSWORD": unquote(address.password or "")}
    where = [
        "-h",
        str(address.hostname),
        "-p",
        str(address.port),
        "-U",
        unquote(address.username or ""),
        "-d",
        database,
    ]
    out = tool == "pg_dump"
    process = subprocess.Popen(
        [str(binaries() / tool), "--no-password", *where, *options],
        env=environment,
        stdin=subprocess.DEVNULL if out else subprocess.PIPE,
        stdout=subprocess.PIPE if out else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    failed: Exception | None = None
    try:
        if process.stdout:
            with file.open("wb") as target:
                seal_stream(process.stdout, target, envelope, database)
        if process.stdin:
            with file.open("rb") as source:
                for chunk in open_stream(source, envelope, database):
                    process.stdin.write(chunk)
            process.stdin.close()
    except (DecryptionError, BrokenPipeError) as error:
        # What was read of a dump that does not open is rolled back: one transaction.
        failed = error
        process.kill()
    said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    if process.wait() or failed:
        raise BackupError(f"{tool} {database}: {said[-2000:] or failed}") from failed
