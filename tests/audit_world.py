"""Somebody whom the database's own guards do not stop, for the tests of audit trails."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from tests.conftest import Postgres


@contextmanager
def superuser(postgres: Postgres, domain: str = "auth") -> Iterator[psycopg2.extensions.cursor]:
    """One who can set every trigger aside."""
    connection = psycopg2.connect(postgres.admin_url, dbname=f"sf_{domain}")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            yield cursor
    finally:
        connection.close()
