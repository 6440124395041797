"""What many tests need: a real PostgreSQL, keys, tokens, and the photographs where they are."""

import functools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from sqlalchemy import text

from infra.local.postgres import READER, PostgresServer, bootstrap
from infra.local.rabbitmq import RabbitError, RabbitNode, executable
from platform_api.core import database
from platform_api.core.encryption import KeyRing
from platform_api.core.migrations import script_directory, upgrade
from platform_api.core.security import keys as token_keys
from platform_api.core.security import tokens

if TYPE_CHECKING:
    from tests.contract_world import World


@dataclass(frozen=True)
class Postgres:
    """The test server.

    Attributes:
        urls: SQLAlchemy URL by domain.
        admin_url: libpq URL of the superuser.
        reader_password: of the role mlops_reader.
        server: to be killed and started by fault tests.
    """

    urls: dict[str, str]
    admin_url: str
    reader_password: str
    server: PostgresServer


@dataclass(frozen=True)
class Keys:
    """Key material of a test run: folder of the token keys, path of the key ring."""

    jwt_dir: Path
    keyring_file: Path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run, with every domain's database, role and migrations."""
    # Not below pytest's own folder, which each start of pytest closes to other users; the server may run as one.
    with tempfile.TemporaryDirectory(prefix="smartfit-postgres-") as folder:
        server = PostgresServer(Path(folder) / "data", durable=False)
        server.start()
        try:
            yield from _served(server)
        finally:
            server.stop()


def _served(server: PostgresServer) -> Iterator[Postgres]:
    passwords = {name: secrets.token_urlsafe(12) for name in (*database.DOMAINS, READER)}
    urls = bootstrap(server.admin_url, passwords)
    for domain, url in urls.items():
        os.environ[database.variable(domain)] = url
        if script_directory(domain) is not None:
            upgrade(domain, url)
    yield Postgres(urls, server.admin_url, passwords[READER], server)
    database.dispose_all()
    for domain in urls:
        del os.environ[database.variable(domain)]


@pytest.fixture(scope="session")
def rabbitmq_installed() -> None:
    """Skips where there is no broker to start (apt install rabbitmq-server)."""
    try:
        executable("rabbitmq-server")
    except RabbitError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a broker: SMARTFIT_TEST_RABBITMQ_URL where set, else a node of our own (apt install rabbitmq-server)."""
    given = os.environ.get("SMARTFIT_TEST_RABBITMQ_URL")
    if given:
        yield given
        return
    request.getfixturevalue("rabbitmq_installed")
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    node.start()
    node.wait()
    yield node.url
    node.stop()


@pytest.fixture
def fresh_databases(postgres: Postgres) -> Iterator[Postgres]:
    """The server with all tables empty (the append-only ones included: their triggers are set aside for the moment)."""
    _empty(*postgres.urls)
    yield postgres


@pytest.fixture(scope="session")
def empty_database(postgres: Postgres) -> Callable[..., None]:
    """`empty_database("helper", ...)` empties the tables of those domains alone, which is quicker."""
    return _empty


# Tables with a trigger before TRUNCATE (bit 5 of tgtype): the audit trail, the ledger.
_GUARDED = text(
    "SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE NOT t.tgisinternal AND t.tgtype & 32 <> 0"
)


def _empty(*domains: str) -> None:
    for domain in domains:
        if script_directory(domain) is None:
            continue
        with database.database(domain).begin() as connection:
            names = connection.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
            ).all()
            guarded = connection.scalars(_GUARDED).all()
            for name in guarded:
                connection.execute(text(f'ALTER TABLE "{name}" DISABLE TRIGGER USER'))
            if names:
                listed = ", ".join(f'"{name}"' for name in names)
                connection.execute(text(f"TRUNCATE {listed} RESTART IDENTITY CASCADE"))
            for name in guarded:
                connection.execute(text(f'ALTER TABLE "{name}" ENABLE TRIGGER USER'))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Token keys and a key ring; the settings that name them are set for the run."""
    folder = tmp_path_factory.mktemp("keys")
    made = Keys(folder / "jwt", folder / "keyring.json")
    token_keys.generate(made.jwt_dir)
    KeyRing.generate().to_file(made.keyring_file)
    os.environ["SMARTFIT_JWT_KEYS_DIR"] = str(made.jwt_dir)
    os.environ["SMARTFIT_KEYRING_FILE"] = str(made.keyring_file)
    yield made
    del os.environ["SMARTFIT_JWT_KEYS_DIR"], os.environ["SMARTFIT_KEYRING_FILE"]


@pytest.fixture
def object_store_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty object store on disk; `SMARTFIT_STORAGE_URL` names it."""
    folder = tmp_path / "objects"
    folder.mkdir()
    monkeypatch.setenv("SMARTFIT_STORAGE_URL", folder.as_uri())
    return folder


TokenFor = Callable[..., dict[str, str]]


@functools.cache
def _issuer(folder: str) -> Flask:
    app = Flask("issuer")
    tokens.init_app(app)
    return app


@pytest.fixture(scope="session")
def token_for(keys: Keys) -> TokenFor:
    """`token_for(sub, *roles, branch_ids=(), version=None)` -> headers with an access token that the platform accepts.

    version: of the member in auth, where there is such a member: tokens of an earlier one are revoked.
    """

    def make(sub: str, *roles: str, branch_ids: tuple[str, ...] = (), version: int | None = None) -> dict[str, str]:
        claims = {} if version is None else {"ver": version}
        with _issuer(str(keys.jwt_dir)).app_context():
            return {"Authorization": f"Bearer {tokens.issue_access_token(sub, roles, branch_ids, claims)}"}

    return make


@pytest.fixture(scope="session")
def standing(
    postgres: Postgres, keys: Keys, token_for: TokenFor, empty_database: Callable[..., None]
) -> "Callable[..., AbstractContextManager[World]]":
    """`with standing(folder, NAME="value", ...) as world`: all domains with a little of everything, in emptied databases."""
    from tests.contract_world import World, whole_application  # takes seconds, and few tests want it

    @contextmanager
    def stand(folder: Path, **settings: str) -> Iterator[World]:
        empty_database(*postgres.urls)
        with whole_application(folder, **settings) as app:
            yield World(app, token_for)

    return stand


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real photographs."""
    place = os.environ.get("SMARTFIT_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("SMARTFIT_DATA does not name a folder of photographs")
    return Path(place)


@pytest.fixture(scope="session")
def lfw(data_dir: Path) -> Path:
    """Labeled Faces in the Wild: NAME/NAME_0001.jpg."""
    folder = data_dir / "faces" / "lfw_home" / "lfw_funneled"
    if not folder.is_dir():
        pytest.skip("SMARTFIT_DATA has no faces/lfw_home/lfw_funneled")
    return folder
