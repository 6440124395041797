"""The embedded database as services meet it: passwords asked for, loopback only, domains apart, back after kill -9."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from infra.local.postgres import DOMAINS, READER, PostgresError, PostgresServer, bootstrap
from infra.local.postgres_foreground import clear_leftovers

PASSWORDS = {domain: f"{domain}-password" for domain in DOMAINS} | {READER: "reader-password"}


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg2://", "postgresql://")


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder. Not below pytest's own, which each start of pytest closes to other users, the server's included."""
    with tempfile.TemporaryDirectory(prefix="smartfit-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with (
        tempfile.TemporaryDirectory(prefix="smartfit-") as folder,
        PostgresServer(Path(folder) / "pg", durable=False) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def urls(server: PostgresServer) -> dict[str, str]:
    return bootstrap(server.admin_url, PASSWORDS)


def _as(url: str, **changes: Any) -> psycopg2.extensions.connection:
    connection: psycopg2.extensions.connection = psycopg2.connect(_libpq(url), **changes)
    return connection


def test_each_domain_has_its_own_database_and_no_way_into_another(urls: dict[str, str]) -> None:
    assert set(urls) == set(DOMAINS)
    for domain, url in urls.items():
        with _as(url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE own (x int)")
            cursor.execute("SELECT current_user, current_database()")
            assert cursor.fetchone() == (f"sf_{domain}", f"sf_{domain}")
        connection.close()
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        _as(urls["auth"], dbname="sf_access")


@pytest.mark.parametrize("domain", DOMAINS)
def test_reader_may_connect_where_views_are_and_sees_nothing_by_itself(urls: dict[str, str], domain: str) -> None:
    own = _as(urls[domain], user=READER, password=PASSWORDS[READER])
    with own.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("SELECT * FROM own")
    own.close()


def test_password_is_asked_for_and_stored_as_scram(server: PostgresServer, urls: dict[str, str]) -> None:
    for wrong in ("", "guess"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            _as(urls["auth"], password=wrong)
    with psycopg2.connect(server.admin_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin")
        rows = cursor.fetchall()
    connection.close()
    assert len(rows) == len(DOMAINS) + 2
    assert all(password.startswith("SCRAM-SHA-256$") for _, password in rows)


def test_vectors_are_there_for_access(urls: dict[str, str]) -> None:
    with _as(urls["access"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT '[1,0]'::vector <=> '[0,1]'::vector")
        assert cursor.fetchone() == (1.0,)
    connection.close()


def test_bootstrap_may_be_repeated_and_sets_the_passwords_given(server: PostgresServer, urls: dict[str, str]) -> None:
    again = bootstrap(server.admin_url, {**PASSWORDS, "search": "another"})
    assert {k: v for k, v in again.items() if k != "search"} == {k: v for k, v in urls.items() if k != "search"}
    _as(again["search"]).close()
    with pytest.raises(psycopg2.OperationalError):
        _as(urls["search"])
    bootstrap(server.admin_url, PASSWORDS)
    with pytest.raises(ValueError, match="mlops"):
        bootstrap(server.admin_url, {k: v for k, v in PASSWORDS.items() if k != "mlops"})


def test_listens_on_loopback_only_and_on_no_unix_socket(server: PostgresServer) -> None:
    process = psutil.Process(server._process.pid if server._process else 0)
    listening = [
        c for c in process.net_connections("all") if c.status == psutil.CONN_LISTEN or c.family == socket.AF_UNIX
    ]
    addresses = [tuple(c.laddr) for c in listening if c.family != socket.AF_UNIX]
    assert addresses == [("127.0.0.1", server.port)]
    assert not [c for c in listening if c.family == socket.AF_UNIX and str(c.laddr)]


def test_never_runs_as_root_and_its_password_file_is_private(server: PostgresServer) -> None:
    assert server._process is not None
    assert psutil.Process(server._process.pid).uids().effective != 0
    assert server.password_file.stat().st_mode & 0o077 == 0
    assert server.data_dir.stat().st_mode & 0o077 == 0


def test_committed_rows_survive_kill_9(place: Path) -> None:
    with PostgresServer(place / "pg") as server:
        with psycopg2.connect(server.admin_url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept (x int); INSERT INTO kept SELECT generate_series(1, 1000)")
        connection.close()
        assert server._process is not None
        os.kill(server._process.pid, 9)
        server._process.wait(10)
        server.start()
        with psycopg2.connect(server.admin_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kept")
            assert cursor.fetchone() == (1000,)
        connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_parent_folder_closed_meanwhile_does_not_stop_the_restart(place: Path) -> None:
    server = PostgresServer(place / "deep" / "pg", durable=False)
    server.initialise()
    (place / "deep").chmod(0o700)
    # The foreground command alone, as a supervisor starts it.
    process = subprocess.Popen(server.command(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg2.connect(server.admin_url).close()
                break
            except psycopg2.OperationalError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def test_pid_file_that_names_another_program_does_not_stop_the_start(place: Path) -> None:
    server = PostgresServer(place / "pg", durable=False)
    server.initialise()
    (server.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data_dir}\n0\n1\n\n\n")
    with server:
        psycopg2.connect(server.admin_url).close()


def test_second_server_on_the_same_data_is_refused(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.postgres_foreground.WAIT_S", 0.3)
    with pytest.raises(PostgresError, match=f"another PostgreSQL .process {server._process and server._process.pid}"):
        clear_leftovers(server.data_dir.resolve())
    psycopg2.connect(server.admin_url).close()


def test_server_ends_with_its_parent(place: Path) -> None:
    child = os.fork()
    if child == 0:
        PostgresServer(place / "pg", 0, durable=False).start()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    deadline = time.monotonic() + 15
    while (place / "pg" / "postmaster.pid").exists():
        assert time.monotonic() < deadline, "the server outlived the process that started it"
        time.sleep(0.05)


def test_half_made_cluster_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.postgres.SUPERUSER", "pg_forbidden")
    server = PostgresServer(place / "pg")
    with pytest.raises(PostgresError, match="initdb failed"):
        server.initialise()
    assert not server.initialised
    assert [path.name for path in place.iterdir()] == ["pg.password"]
