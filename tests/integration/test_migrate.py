"""Migrations and the first operator, as jobs run them: again and again, and two at once."""

import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from infra.local.postgres import free_port
from platform_api.core.database import variable
from tests.conftest import Postgres
from tests.local_world import bare
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
Process = "subprocess.Popen[str]"


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """libpq URL of a database with nothing in it, as the superuser."""
    name = f"fresh_{uuid.uuid4().hex[:8]}"
    admin = psycopg2.connect(postgres.admin_url)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres.admin_url.rpartition("/")[0] + f"/{name}"
    with admin.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    admin.close()


def _run(module: str, database: str, **more: str) -> Any:
    url = database.replace("postgresql://", "postgresql+psycopg2://")
    environment = {**bare(), "SMARTFIT_DOMAINS": "auth", variable("auth"): url, **more}
    return subprocess.Popen(
        [sys.executable, "-m", module], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def _ended(*processes: Any) -> list[tuple[int, str]]:
    return [(process.wait(60), process.stdout.read()) for process in processes]


def _ask(database: str, query: str) -> Any:
    connection = psycopg2.connect(database)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def test_two_jobs_at_once_migrate_one_after_the_other(empty: str) -> None:
    held = psycopg2.connect(empty)
    with held, held.cursor() as cursor:
        # A third is at work; both wait for it, for longer than they would wait for a table.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (0x5F17,))
        jobs = [_run("platform_api.migrate", empty) for _ in range(2)]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_for(lambda: _ask(empty, waiting) == [(2,)], 60)
        with pytest.raises(subprocess.TimeoutExpired):
            jobs[0].wait(7)
    held.close()
    assert [code for code, _ in _ended(*jobs)] == [0, 0]
    before = _ask(empty, "SELECT version_num FROM alembic_version")
    assert len(before) == 1
    assert _ended(_run("platform_api.migrate", empty))[0][0] == 0
    assert _ask(empty, "SELECT version_num FROM alembic_version") == before


def test_two_bootstraps_at_once_make_one_operator(empty: str) -> None:
    assert _ended(_run("platform_api.migrate", empty))[0][0] == 0
    settings = {
        "SMARTFIT_OPERATOR_EMAIL": "first@gym.example",
        "SMARTFIT_OPERATOR_PASSWORD": secrets.token_urlsafe(24),
        "SMARTFIT_SERVICE_CLIENTS": '{"access": "' + secrets.token_urlsafe(32) + '"}',
    }
    both = _ended(*(_run("platform_api.auth.bootstrap", empty, **settings) for _ in range(2)))
    assert [code for code, _ in both] == [0, 0], both
    assert _ask(empty, "SELECT count(*) FROM member") == [(1,)]
    assert _ended(_run("platform_api.auth.bootstrap", empty, **settings))[0][0] == 0
    assert _ask(empty, "SELECT count(*) FROM member") == [(1,)]


def test_a_database_that_is_away_is_waited_for_and_named(postgres: Postgres) -> None:
    nobody = f"postgresql://auth:pw@127.0.0.1:{free_port()}/auth"
    ((code, said),) = _ended(_run("platform_api.migrate", nobody, SMARTFIT_MIGRATIONS_WAIT_S="1"))
    assert code == 1
    assert "waiting_for_database" in said
    assert "auth: 데이터베이스를 옮기지 못했습니다" in said
