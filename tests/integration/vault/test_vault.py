"""Secrets out of Vault, by hvac itself over TLS, from a server that answers as Vault does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from pydantic import SecretStr

from infra.local import keys_cli
from infra.local.certificates import authority, server
from infra.local.postgres import free_port
from infra.local.vault_keys import vault_folder
from infra.sandboxes.vault import ROLE, ROLE_ID
from platform_api import secrets as secret_files
from platform_api.core import vault
from platform_api.core.encryption import Envelope, KeyRing, RingFile
from platform_api.core.security import keys as token_keys
from platform_api.core.settings import Settings, SettingsError, load, read_variable
from tests.waiting import wait_for

SECRET_ID = "an-app-role-secret-of-the-test"


class Sandbox:
    """The server, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificate = server(folder, "vault")
        self.ca = authority(folder).chain
        (folder / "secret_id").write_text(SECRET_ID + "\n")
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(self.ca)
        self.session.headers["Authorization"] = f"Bearer {SECRET_ID}"
        command = [
            sys.executable, "-m", "infra.sandboxes.vault", "--port", str(port), "--cert", str(certificate.chain),
            "--key", str(certificate.key), "--api-key-file", str(folder / "secret_id"),
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._up, 30, "the server")

    def _up(self) -> bool:
        try:
            return self.session.get(f"{self.url}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def tell(self, what: str, **said: Any) -> None:
        assert self.session.post(f"{self.url}/sandbox/{what}", json=said, timeout=10).status_code == 200

    def place(self, path: str, **fields: str) -> None:
        self.tell("secrets", path=path, fields=fields)

    def logins(self) -> list[str]:
        entries = self.session.get(f"{self.url}/sandbox/log", timeout=10).json()["entries"]
        return [entry["login"] for entry in entries if "login" in entry]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("vault"))
    yield made
    made.process.terminate()
    made.process.wait(20)


@pytest.fixture
def sandbox(started: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Named to the process, with a login by AppRole."""
    monkeypatch.setenv("SMARTFIT_VAULT_ADDR", started.url)
    monkeypatch.setenv("SMARTFIT_VAULT_CA_FILE", str(started.ca))
    monkeypatch.setenv("SMARTFIT_VAULT_ROLE_ID", ROLE_ID)
    monkeypatch.setenv("SMARTFIT_VAULT_SECRET_ID_FILE", str(started.folder / "secret_id"))
    started.tell("seal", sealed=False)
    started.tell("policy", denied=[])
    started.tell("tokens", ttl_s=3600)
    vault.vault.cache_clear()
    yield started
    vault.vault.cache_clear()


class Sample(Settings):
    api_secret: SecretStr
    count: int = 0


def test_settings_are_read_from_vault(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sandbox.place("smartfit/api", password="of-the-vault", count="7")
    monkeypatch.setenv("SMARTFIT_API_SECRET", "vault:smartfit/api#password")
    (tmp_path / "count").write_text("vault:smartfit/api#count\n")
    monkeypatch.setenv("SMARTFIT_COUNT_FILE", str(tmp_path / "count"))
    found = load(Sample)
    assert found.api_secret.get_secret_value() == "of-the-vault"
    assert found.count == 7
    assert read_variable("SMARTFIT_API_SECRET") == "of-the-vault"
    monkeypatch.setenv("SMARTFIT_API_SECRET", "plain")
    assert load(Sample).api_secret.get_secret_value() == "plain"


def test_what_is_wrong_names_the_setting_and_no_secret(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.place("smartfit/api", password="of-the-vault")

    def told(reference: str) -> str:
        monkeypatch.setenv("SMARTFIT_API_SECRET", reference)
        with pytest.raises(SettingsError) as caught:
            load(Sample)
        assert str(caught.value).startswith("SMARTFIT_API_SECRET: ")
        assert "of-the-vault" not in str(caught.value)
        return str(caught.value)

    assert "vault:PATH#KEY" in told("vault:smartfit/api")
    assert "not in Vault" in told("vault:smartfit/nothing#password")
    assert "has no field pass" in told("vault:smartfit/api#pass")
    sandbox.tell("policy", denied=["smartfit/api"])
    assert "policy" in told("vault:smartfit/api#password")
    sandbox.tell("seal", sealed=True)
    assert "sealed" in told("vault:smartfit/api#password")
    monkeypatch.setenv("SMARTFIT_VAULT_ADDR", f"https://127.0.0.1:{free_port()}")
    vault.vault.cache_clear()
    assert "cannot be reached" in told("vault:smartfit/api#password")
    monkeypatch.setenv("SMARTFIT_VAULT_ADDR", "http://vault.example.com")
    vault.vault.cache_clear()
    assert "SMARTFIT_VAULT_ADDR" in told("vault:smartfit/api#password")


def test_a_server_that_another_ca_vouches_for_is_told_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = len(sandbox.logins())
    monkeypatch.setenv("SMARTFIT_VAULT_CA_FILE", str(authority(tmp_path).chain))
    vault.vault.cache_clear()
    with pytest.raises(vault.VaultError, match="cannot be reached: SSLError"):
        vault.resolve("vault:smartfit/api#password")
    assert len(sandbox.logins()) == before


@pytest.mark.parametrize("method", ["approle", "kubernetes", "token"])
def test_each_way_of_logging_in(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str) -> None:
    sandbox.place("smartfit/api", password="of-the-vault")
    if method != "approle":
        monkeypatch.delenv("SMARTFIT_VAULT_ROLE_ID")
        with pytest.raises(vault.VaultError, match="no way to log in"):
            vault.resolve("vault:smartfit/api#password")
    if method == "kubernetes":
        monkeypatch.setenv("SMARTFIT_VAULT_ROLE", ROLE)
        monkeypatch.setenv("SMARTFIT_VAULT_KUBERNETES_TOKEN_FILE", str(sandbox.folder / "secret_id"))
    elif method == "token":
        said = {"role_id": ROLE_ID, "secret_id": SECRET_ID}
        token = sandbox.session.post(f"{sandbox.url}/v1/auth/approle/login", json=said).json()["auth"]["client_token"]
        (tmp_path / "token").write_text(token)
        monkeypatch.setenv("SMARTFIT_VAULT_TOKEN_FILE", str(tmp_path / "token"))
    before = len(sandbox.logins())
    assert vault.resolve("vault:smartfit/api#password") == "of-the-vault"
    assert sandbox.logins()[before:] == ([method] if method != "token" else [])


def test_a_wrong_secret_id_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTFIT_VAULT_SECRET_ID", "another")
    with pytest.raises(vault.VaultError, match="invalid role or secret ID"):
        vault.resolve("vault:smartfit/api#password")


def test_a_token_that_ended_is_replaced_by_a_new_login(sandbox: Sandbox) -> None:
    sandbox.place("smartfit/api", password="first")
    assert vault.resolve("vault:smartfit/api#password") == "first"
    before = len(sandbox.logins())
    sandbox.place("smartfit/api", password="second")
    assert vault.resolve("vault:smartfit/api#password") == "second"
    assert len(sandbox.logins()) == before
    sandbox.tell("tokens", ttl_s=3600)
    assert vault.resolve("vault:smartfit/api#password") == "second"
    assert len(sandbox.logins()) == before + 1


def test_key_sets_come_as_files_and_are_rotated_in_vault(sandbox: Sandbox, tmp_path: Path) -> None:
    """The whole way: keys are pushed, a sidecar writes them, they are rotated in Vault, and who reads the files follows."""
    with vault_folder("smartfit/jwt") as folder:
        first = token_keys.generate(folder)
    with vault_folder("smartfit/keyring") as folder:
        KeyRing.generate().to_file(folder / "keyring.json")
    wanted = [f"{tmp_path / 'jwt'}:smartfit/jwt", f"{tmp_path / 'ring'}:smartfit/keyring"]
    command = [sys.executable, "-m", "platform_api.secrets", "--every", "0.2", *wanted]
    sidecar = subprocess.Popen(command, env=os.environ.copy())
    try:
        wait_for(
            lambda: list((tmp_path / "jwt").glob("*.pem")) and (tmp_path / "ring" / "keyring.json").exists(),
            30,
            "files",
        )
        keys = token_keys.KeySet(tmp_path / "jwt")
        ring = Envelope(RingFile(tmp_path / "ring" / "keyring.json"))
        assert keys.signing_key()[0] == first
        assert (tmp_path / "jwt" / f"{first}.pem").stat().st_mode & 0o077 == 0
        blob = ring.seal(b"x", b"")

        with vault_folder("smartfit/jwt") as folder:
            second = token_keys.generate(folder)
        with vault_folder("smartfit/keyring") as folder:
            KeyRing.from_file(folder / "keyring.json").rotated(seals_from=0.0).to_file(folder / "keyring.json")
        wait_for(lambda: len(keys.jwks()["keys"]) == 2, what="the new key is published")
        assert keys.signing_key()[0] == first  # everybody has time to hear of the second
        wait_for(lambda: Envelope.key_id(ring.seal(b"x", b"")) == "k2", what="the new ring")
        assert ring.open(blob, b"") == b"x"

        sandbox.tell("seal", sealed=True)
        assert {key["kid"] for key in keys.jwks()["keys"]} == {first, second}
        sandbox.tell("seal", sealed=False)
        with vault_folder("smartfit/jwt") as folder:
            (folder / f"{first}.pem").unlink()
        wait_for(lambda: [key["kid"] for key in keys.jwks()["keys"]] == [second], what="the first is gone")
    finally:
        sidecar.terminate()
        assert sidecar.wait(20) == 0


def test_the_command_rotates_in_vault(sandbox: Sandbox) -> None:
    with vault_folder("smartfit/jwt-of-command") as folder:
        first = token_keys.generate(folder)
    with vault_folder("smartfit/ring-of-command") as folder:
        KeyRing.generate().to_file(folder / "keyring.json")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(keys_cli.command, list(arguments))
        assert done.exit_code in (0, 1), done.exception
        return f"{done.exit_code} {done.output}"

    assert run("rotate", "jwt", "--vault", "smartfit/jwt-of-command").startswith("0")
    assert run("rotate", "keyring", "--vault", "smartfit/ring-of-command").startswith("0")
    assert run("remove", "jwt", first, "--vault", "smartfit/jwt-of-command", "--now").startswith("1")  # it still signs
    with vault_folder("smartfit/jwt-of-command") as folder:
        assert len(list(folder.glob("*.pem"))) == 2
    with vault_folder("smartfit/ring-of-command") as folder:
        ring = KeyRing.from_file(folder / "keyring.json")
    assert (ring.now().current, set(ring.keys), ring.following and ring.following[0]) == ("k1", {"k1", "k2"}, "k2")
    assert run("rotate", "jwt", "--vault", "smartfit/jwt-of-command").startswith("0")
    sandbox.tell("seal", sealed=True)
    assert run("rotate", "jwt", "--vault", "smartfit/jwt-of-command").startswith("1")


def test_two_who_rotate_at_once_do_not_overwrite_each_other(sandbox: Sandbox) -> None:
    sandbox.place("smartfit/both", a="1")
    with pytest.raises(vault.VaultError, match="check-and-set"), vault_folder("smartfit/both") as folder:
        (folder / "b").write_text("2")
        sandbox.place("smartfit/both", a="other")


def test_files_are_what_vault_says_or_stay_as_they_are(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.place("smartfit/files", a="1", b="2")
    assert secret_files.main(["--once", f"{tmp_path / 'f'}:smartfit/files"]) == 0
    assert {file.name: file.read_text() for file in (tmp_path / "f").iterdir()} == {"a": "1", "b": "2"}
    for wrong in ({}, {"../c": "3"}, {".hidden": "3"}, {"x/y": "3"}):
        sandbox.tell("secrets", path="smartfit/files", fields=wrong)
        assert secret_files.main(["--once", f"{tmp_path / 'f'}:smartfit/files"]) == 1
        assert {file.name for file in (tmp_path / "f").iterdir()} == {"a", "b"}
    assert not (tmp_path / "c").exists()
