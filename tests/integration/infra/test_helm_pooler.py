"""The chart's PgBouncer, a real one before a real PostgreSQL, serves the APIs as the database itself does."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from infra.checks.helm import config_map
from infra.local.postgres import free_port, let_through, server_user
from platform_api.core import database
from tests.conftest import Postgres
from tests.waiting import wait_for

POOL = 4


@pytest.fixture(scope="module")
def pooled(postgres: Postgres) -> Iterator[str]:
    """URL of auth's database through the pooler, which is started with what the chart renders."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("no pgbouncer (apt install pgbouncer)")
    direct = make_url(postgres.urls["auth"])
    values = {
        "pooler": {
            "enabled": True,
            "host": "127.0.0.1",
            "port": direct.port,
            "poolSize": POOL,
            "reserve": 0,
            "serverTls": "disable",
        }
    }
    config, port = config_map(values, "pgbouncer.ini")["pgbouncer.ini"], free_port()
    with psycopg2.connect(postgres.admin_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname = 'sf_auth'")
        ((name, verifier),) = cursor.fetchall()
    with tempfile.TemporaryDirectory(prefix="smartfit-pgbouncer-") as made:
        folder = Path(made)
        users = folder / "userlist.txt"
        # What is in the Secret: no password, only what it is checked by.
        users.write_text(f'"{name}" "{verifier}"\n', encoding="utf-8")
        config = config.replace("/etc/smartfit/secrets/pooler/userlist.txt", str(users))
        config = config.replace("listen_port = 6432", f"listen_port = {port}").replace("0.0.0.0", "127.0.0.1")
        (folder / "pgbouncer.ini").write_text(config, encoding="utf-8")
        user = server_user()
        if user:
            let_through(users)
            folder.chmod(0o755)
        process = subprocess.Popen([program, str(folder / "pgbouncer.ini")], user=user.pw_uid if user else None)
        url = direct.set(port=port).render_as_string(hide_password=False)
        try:
            wait_for(lambda: process.poll() is None and _answers(url), 20)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url.replace("+psycopg2", "")).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.fixture
def through(pooled: str, postgres: Postgres) -> Iterator[None]:
    """The product's own engine, through the pooler."""
    database.configure("auth", pooled)
    yield
    database.configure("auth", postgres.urls["auth"])


@pytest.mark.usefixtures("through")
def test_sessions_have_the_limits_that_the_product_asks_for() -> None:
    wanted = {
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "TimeZone": "UTC",
    }
    with database.database("auth").connect() as connection:
        found = {name: connection.scalar(text(f"SHOW {name}")) for name in wanted}
    assert found == wanted


@pytest.mark.usefixtures("through")
def test_many_clients_share_few_connections_and_each_transaction_is_its_own() -> None:
    together = threading.Barrier(16)
    seen: set[int] = set()

    def work(number: int) -> None:
        with database.database("auth").connect() as connection:
            together.wait(20)
            for _ in range(5):
                with connection.begin():
                    connection.execute(text("SELECT set_config('smartfit.test', :value, true)"), {"value": str(number)})
                    assert connection.scalar(text("SELECT current_setting('smartfit.test')")) == str(number)
                    seen.add(connection.scalar(text("SELECT pg_backend_pid()")) or 0)

    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(work, number) for number in range(16)]:
            done.result(30)
    assert 1 <= len(seen) <= POOL


@pytest.mark.usefixtures("through")
def test_a_statement_without_end_is_ended() -> None:
    with database.database("auth").connect() as connection, connection.begin():
        connection.execute(text("SET LOCAL statement_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(5)"))
    with database.database("auth").connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "30s"


def test_another_password_does_not_get_in(pooled: str) -> None:
    wrong = make_url(pooled).set(password="another", drivername="postgresql").render_as_string(hide_password=False)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(wrong)
