"""Keys of access tokens: Ed25519 (EdDSA, RFC 8037), published as a JWK set (RFC 7517), rotated by adding a file.

The auth domain alone holds private keys: a folder of `<kid>.pem`. The key whose kid sorts last signs, once it has
been published for a while; the others go on verifying until their file is removed (`smartfit keys remove`). Kids therefore
begin with the time they were made. Everybody else has only the public set.
"""

import base64
import datetime
import os
import threading
import time
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from platform_api.core.settings import SettingsError


class UnknownKey(Exception):
    """No key of that kid."""


def generate(folder: Path) -> str:
    """Make a new signing key in `folder`, readable by its owner only. Returns its kid."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kid = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(folder / f"{kid}.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return kid


class KeySet:
    """The private keys of auth; the folder is read again when it changes, so that rotation needs no restart."""

    PUBLISHED_AHEAD = 30.0
    """Seconds a new key stands in the JWK set before it signs: gateway and services fetch the set every few seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamp: tuple[tuple[str, float], ...] = ()
        self._keys: dict[str, Ed25519PrivateKey] = {}
        self._made: dict[str, float] = {}
        self._checked = 0.0
        self._lock = threading.Lock()

    def signing_key(self) -> tuple[str, Ed25519PrivateKey]:
        """kid and key that sign now: the newest that everybody has had time to fetch, the only one at once."""
        keys = self._load()
        known = [kid for kid in keys if time.time() - self._made.get(kid, 0.0) >= self.PUBLISHED_AHEAD]
        kid = max(known) if known else min(keys)
        return kid, keys[kid]

    def public_key(self, kid: str) -> Ed25519PublicKey:
        """The key that verifies tokens of `kid`.

        Raises:
            UnknownKey: see there.
        """
        key = self._load().get(kid)
        if key is None:
            raise UnknownKey(kid)
        return key.public_key()

    def jwks(self) -> dict[str, Any]:
        """The public JWK set."""
        return {"keys": [to_jwk(kid, key.public_key()) for kid, key in sorted(self._load().items())]}

    def _load(self) -> dict[str, Ed25519PrivateKey]:
        with self._lock:
            if self._keys and time.monotonic() - self._checked < 1.0:
                return self._keys
            made = {path: path.stat().st_mtime for path in sorted(self.folder.glob("*.pem"))}
            stamp = tuple((path.name, at) for path, at in made.items())
            if not made:
                raise SettingsError(f"SMARTFIT_JWT_KEYS_DIR: 서명 키가 없습니다 (no <kid>.pem in {self.folder})")
            if stamp != self._stamp:
                self._keys = {path.stem: _read(path) for path in made}
                self._made = {path.stem: at for path, at in made.items()}
                self._stamp = stamp
            self._checked = time.monotonic()
            return self._keys


class JwksSource:
    """The public keys, fetched from auth and kept; fetched again when old or when a kid is new.

    An unknown kid causes at most one request in ten seconds, so that forged tokens cannot flood auth. When auth is
    away the keys at hand go on working.
    """

    MAX_AGE = 60.0
    """How long a key that auth has taken out is still believed here."""
    MIN_AGE = 10.0

    def __init__(self, url: str, verify: str | bool = True, certificate: tuple[str, str] | None = None) -> None:
        self.url = url
        self.verify = verify
        self.certificate = certificate
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched = float("-inf")
        self._lock = threading.Lock()

    def public_key(self, kid: str) -> Ed25519PublicKey:
        """The key that verifies tokens of `kid`.

        Raises:
            UnknownKey: see there.
        """
        age = time.monotonic() - self._fetched
        if age > self.MAX_AGE or (kid not in self._keys and age > self.MIN_AGE):
            self._fetch()
        key = self._keys.get(kid)
        if key is None:
            raise UnknownKey(kid)
        return key

    def _fetch(self) -> None:
        with self._lock:
            if time.monotonic() - self._fetched <= self.MIN_AGE:
                return
            try:
                answer = requests.get(self.url, timeout=(1.0, 3.0), verify=self.verify, cert=self.certificate)
                answer.raise_for_status()
                self._keys = {jwk["kid"]: from_jwk(jwk) for jwk in answer.json()["keys"]}
            except (requests.RequestException, ValueError, KeyError) as error:
                if not self._keys:
                    raise UnknownKey(f"no keys from {self.url}: {type(error).__name__}") from error
            finally:
                self._fetched = time.monotonic()


def to_jwk(kid: str, key: Ed25519PublicKey) -> dict[str, Any]:
    """The JWK of a public key (RFC 8037)."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x}


def from_jwk(jwk: dict[str, Any]) -> Ed25519PublicKey:
    """The public key of a JWK. Raises ValueError where it is no Ed25519 key."""
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise ValueError("not an Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "=="))


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"SMARTFIT_JWT_KEYS_DIR: 키를 읽을 수 없습니다 (cannot read key {path.name})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"SMARTFIT_JWT_KEYS_DIR: Ed25519 키가 아닙니다 (not an Ed25519 key: {path.name})")
    return key
