"""Backup and restore: whole or not at all, unreadable without the keys, and nothing that was changed is let in."""

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from click.testing import CliRunner

from infra.local.backup.cli import backup as command
from infra.local.backup.making import backup
from infra.local.backup.manifest import BackupError, Manifest
from infra.local.backup.restoring import restore
from infra.local.backup.sealed import FRAME, open_stream, seal_stream
from infra.local.credentials import Credentials
from infra.local.services import postgres_server
from infra.local.state import State
from platform_api.core.encryption import DecryptionError, Envelope, KeyRing
from tests.backup_world import objects, place, prepared, rows, served

SECRET = "한가람-010-1234-5678"


class Made(NamedTuple):
    """An installation and its backup."""

    state: State
    backup: Path
    keys: Path
    manifest: Manifest


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with place() as folder:
        state, held = prepared(folder / "installation")
        with served(state, held) as server:
            connection = psycopg2.connect(server.admin_url, dbname="sf_auth")
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "CREATE TABLE member (id serial PRIMARY KEY, name text); GRANT SELECT ON member TO sf_auth"
                )
                cursor.execute("INSERT INTO member (name) SELECT %s FROM generate_series(1, 300)", (SECRET,))
            connection.close()
            (state.objects / "faces" / "m1").mkdir(parents=True)
            (state.objects / "faces" / "m1" / "a.jpg").write_bytes(os.urandom(5000))
            (state.objects / "faces" / "m1" / "b.jpg.part").write_bytes(b"half")
            (state.models / "weights.onnx").write_bytes(b"weights")
            manifest = backup(state, folder / "backup", folder / "keys")
        yield Made(state, folder / "backup", folder / "keys", manifest)


def test_nothing_of_the_databases_can_be_read_in_a_backup(made: Made) -> None:
    for file in made.backup.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert not any("keyring" in file.name for file in made.backup.rglob("*"))
    assert made.backup.stat().st_mode & 0o077 == 0
    assert made.manifest.tables["sf_auth"] == {"public.member": 300}
    assert [name for name in made.manifest.files if name.startswith("objects")] == ["objects/faces/m1/a.jpg"]


def test_a_restored_installation_has_the_rows_grants_objects_and_keys(made: Made) -> None:
    with place() as folder:
        state = State(folder / "anew")
        restore(state, made.backup, made.keys)
        held = Credentials(state.secrets)
        assert held.keyring.read_bytes() == Credentials(made.state.secrets).keyring.read_bytes()
        assert objects(state) == {name[8:]: (made.backup / name).read_bytes() for name in ("objects/faces/m1/a.jpg",)}
        assert (state.models / "weights.onnx").read_bytes() == b"weights"
        assert state.choices == made.state.choices
        with served(state, held) as server:
            assert rows(server) == made.manifest.tables
            # The sequence goes on, and the domain's own role has what it had.
            url = held.database_url("auth").read_text().replace("+psycopg2", "")
            with psycopg2.connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM member WHERE name = %s", (SECRET,))
                assert cursor.fetchone() == (300,)
            connection.close()


def test_an_installation_that_is_not_empty_is_left_alone(made: Made) -> None:
    before = objects(made.state)
    with pytest.raises(BackupError, match="not empty"):
        restore(made.state, made.backup, made.keys)
    with pytest.raises(BackupError, match="not empty"):
        backup(made.state, made.backup)
    assert objects(made.state) == before


def test_keys_do_not_go_into_the_backup(made: Made) -> None:
    with pytest.raises(BackupError, match="another place"):
        backup(made.state, made.backup.parent / "more", made.backup.parent / "more" / "keys")
    assert not (made.backup.parent / "more").exists()


def test_a_server_that_does_not_run_is_started_for_the_backup_and_stopped_again(made: Made) -> None:
    with place() as folder:
        assert postgres_server(made.state, Credentials(made.state.secrets)).problem() is not None
        manifest = backup(made.state, folder / "later")
        assert manifest.tables == made.manifest.tables
        assert postgres_server(made.state, Credentials(made.state.secrets)).problem() is not None


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest", "keys"])
def test_a_backup_that_is_not_what_was_written_is_refused_and_nothing_left(made: Made, damage: str) -> None:
    with place() as folder:
        source, keys, target = folder / "copy", made.keys, State(folder / "anew")
        shutil.copytree(made.backup, source)
        dump = source / "databases" / "sf_auth.sealed"
        if damage == "changed":
            content = bytearray(dump.read_bytes())
            content[len(content) // 2] ^= 1
            dump.write_bytes(content)
        elif damage == "missing":
            (source / "objects" / "faces" / "m1" / "a.jpg").unlink()
        elif damage == "added":
            (source / "objects" / "new.jpg").write_bytes(b"x")
        elif damage == "manifest":
            document = json.loads((source / "manifest.json").read_text())
            document["tables"]["sf_auth"]["public.member"] = 299
            (source / "manifest.json").write_text(json.dumps(document))
        else:
            keys = folder / "others"
            (keys / "secrets").mkdir(parents=True)
            KeyRing.generate().to_file(keys / "secrets" / "keyring.json")
        with pytest.raises(BackupError):
            restore(target, source, keys)
        assert {each.name for each in folder.iterdir()} <= {"copy", "others"}


def test_a_backup_that_fails_leaves_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("infra.local.backup.databases.seal_stream", fail)
    with place() as folder, pytest.raises(OSError, match="disk full"):
        backup(made.state, folder / "backup", folder / "keys")
    with place() as folder:
        with pytest.raises(OSError, match="disk full"):
            backup(made.state, folder / "backup")
        assert list(folder.iterdir()) == []


def test_a_good_backup_leaves_its_figures_for_prometheus_and_a_failed_one_leaves_those_before(made: Made) -> None:
    with place() as folder:
        file = folder / "metrics" / "smartfit_backup.prom"

        def run(target: str, *more: str) -> int:
            arguments = ["--state", str(made.state.folder), "--metrics", str(file), *more, str(folder / target)]
            return CliRunner().invoke(command, arguments).exit_code

        assert run("first") == 0
        told = dict(line.split() for line in file.read_text().splitlines() if not line.startswith("#"))
        assert time.time() - 600 < float(told["smartfit_backup_timestamp_seconds"]) <= time.time()
        assert float(told["smartfit_backup_duration_seconds"]) > 0
        assert (float(told["smartfit_backup_rows"]), float(told["smartfit_backup_objects"])) == (300, 1)
        size = sum(each.stat().st_size for each in (folder / "first").rglob("*") if each.is_file())
        assert float(told["smartfit_backup_size_bytes"]) == size
        assert float(told["smartfit_backup_with_keys"]) == 0
        assert file.stat().st_mode & 0o777 == 0o644
        before = file.read_bytes()
        assert run("first") == 1, "there is something already"
        assert file.read_bytes() == before
        assert run("second", "--metrics", str(folder / "first" / "manifest.json" / "below a file")) == 1
        assert (folder / "second" / "manifest.json").is_file(), "the backup is whole all the same"


@pytest.mark.parametrize("size", [0, 1, FRAME, FRAME + 1, 2 * FRAME])
def test_a_sealed_stream_opens_whole_or_not_at_all(size: int) -> None:
    envelope, plain, sealed = Envelope(KeyRing.generate()), os.urandom(size), io.BytesIO()
    seal_stream(io.BytesIO(plain), sealed, envelope, "sf_auth")
    assert b"".join(open_stream(io.BytesIO(sealed.getvalue()), envelope, "sf_auth")) == plain
    first = 4 + int.from_bytes(sealed.getvalue()[:4], "big")
    wrong = [sealed.getvalue()[:-1], b"", sealed.getvalue() * 2]
    if size > FRAME:
        wrong += [sealed.getvalue()[:first], sealed.getvalue()[first:]]
    for damaged in wrong:
        with pytest.raises(DecryptionError):
            list(open_stream(io.BytesIO(damaged), envelope, "sf_auth"))
    with pytest.raises(DecryptionError):
        list(open_stream(io.BytesIO(sealed.getvalue()), envelope, "sf_access"))
