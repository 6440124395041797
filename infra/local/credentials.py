"""Secrets of a local installation: made once at the first start, never shown, each in a file only its owner reads.

`ensure` makes what is missing and changes nothing that is there, so it may run at every start.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from access_edge import keys as edge_keys
from infra.local.certificates import write_private
from infra.local.postgres import DAGSTER, DOMAINS, READER, READER_DOMAINS
from infra.local.state import State
from platform_api.core.encryption import KeyRing
from platform_api.core.security import keys as token_keys

OPERATOR_EMAIL = "operator@smartfit.local"
# Domains that call another with a secret of their own; auth signs its own tokens.
SERVICE_CLIENTS = ("access", "dagster")


@dataclass(frozen=True)
class Credentials:
    """Files of the secrets. Values are read where they are used, not passed around."""

    folder: Path

    @property
    def postgres_password(self) -> Path:
        return self.folder / "postgres_password"

    def database_url(self, domain: str) -> Path:
        return self.folder / f"{domain}_database_url"

    @property
    def reader_password(self) -> Path:
        return self.folder / f"{READER}_password"

    @property
    def jwt_keys(self) -> Path:
        return self.folder / "jwt"

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.json"

    @property
    def edge_keyring(self) -> Path:
        return self.folder / "edge_keyring.json"

    @property
    def edge_key(self) -> Path:
        return self.folder / "edge_key.pem"

    @property
    def edge_admin_key(self) -> Path:
        return self.folder / "edge_admin_key"

    @property
    def card_api_key(self) -> Path:
        return self.folder / "card_api_key"

    @property
    def gate_api_key(self) -> Path:
        return self.folder / "gate_api_key"

    @property
    def fcm_api_key(self) -> Path:
        return self.folder / "fcm_api_key"

    @property
    def fcm_account(self) -> Path:
        """Key file of the service account that the push sandbox lets in."""
        return self.folder / "fcm_account.json"

    @property
    def webpush_api_key(self) -> Path:
        """Of the Web Push sandbox."""
        return self.folder / "webpush_api_key"

    @property
    def webpush_private_key(self) -> Path:
        """By which the sender names itself to push services (VAPID; P-256, PEM)."""
        return self.folder / "webpush_private_key.pem"

    @property
    def smtp_api_key(self) -> Path:
        """Of the mail sandbox; its mail server takes it for a password."""
        return self.folder / "smtp_api_key"

    @property
    def operator_password(self) -> Path:
        return self.folder / "operator_password"

    @property
    def service_clients(self) -> Path:
        return self.folder / "service_clients.json"

    def client_secret(self, client: str) -> Path:
        return self.folder / f"{client}_client_secret"

    def reader_url(self, domain: str) -> Path:
        """Of a domain's database, as the role that reads training views."""
        return self.folder / f"{domain}_reader_url"

    @property
    def dagster_database_password(self) -> Path:
        return self.folder / "dagster_database_password"

    @property
    def dagster_database_url(self) -> Path:
        return self.folder / "dagster_database_url"

    @property
    def model_signing_key(self) -> Path:
        """Signs packages of models (Ed25519, PEM)."""
        return self.folder / "model_signing_key.pem"

    @property
    def model_public_keys(self) -> Path:
        """Who checks a package trusts these: a JSON array of base64 of raw Ed25519 public keys."""
        return self.folder / "model_public_keys.json"

    @property
    def provision(self) -> Path:
        return self.folder / "provision.json"

    def database_passwords(self) -> dict[str, str]:
        """{domain: password}, mlops_reader's and Dagster's, as `postgres.bootstrap` wants them."""
        passwords = {domain: (self.folder / f"{domain}_database_password").read_text() for domain in DOMAINS}
        more = {READER: self.reader_password.read_text(), DAGSTER: self.dagster_database_password.read_text()}
        return {**passwords, **more}


def ensure(state: State, database: str = "") -> Credentials:
    """Make every secret that is missing.

    database: host:port of PostgreSQL, where it is not on this machine.
    """
    where = database or f"127.0.0.1:{state.ports['postgres']}"
    held = Credentials(state.secrets)
    random_files = [
        *(held.folder / f"{domain}_database_password" for domain in DOMAINS),
        held.reader_password,
        held.postgres_password,
        held.dagster_database_password,
        held.edge_admin_key,
        held.card_api_key,
        held.gate_api_key,
        held.fcm_api_key,
        held.webpush_api_key,
        held.smtp_api_key,
        held.operator_password,
        *(held.client_secret(client) for client in SERVICE_CLIENTS),
    ]
    for file in random_files:
        if not file.exists():
            write_private(file, secrets.token_urlsafe(32).encode())
    for file in (held.keyring, held.edge_keyring):
        if not file.exists():
            KeyRing.generate().to_file(file)
    if not any(held.jwt_keys.glob("*.pem")):
        token_keys.generate(held.jwt_keys)
    clients = {client: held.client_secret(client).read_text() for client in SERVICE_CLIENTS}
    _replace(held.service_clients, json.dumps(clients))
    for domain in DOMAINS:
        password = (held.folder / f"{domain}_database_password").read_text()
        _replace(held.database_url(domain), f"postgresql+psycopg2://sf_{domain}:{password}@{where}/sf_{domain}")
    for domain in READER_DOMAINS:
        reader = held.reader_password.read_text()
        _replace(held.reader_url(domain), f"postgresql+psycopg2://{READER}:{reader}@{where}/sf_{domain}")
    password = held.dagster_database_password.read_text()
    _replace(held.dagster_database_url, f"postgresql+psycopg2://sf_{DAGSTER}:{password}@{where}/sf_{DAGSTER}")
    if not held.webpush_private_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(held.webpush_private_key, _pem(key))
    edge_keys.generate(held.edge_key)
    trusted = edge_keys.generate(held.model_signing_key)
    if not held.model_public_keys.exists():
        write_private(held.model_public_keys, json.dumps([trusted]).encode())
    return held


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _replace(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        write_private(file, text.encode())
