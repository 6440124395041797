"""The node's own key: how the centre knows it. `python -m access_edge.keys FILE` makes one and prints its public part.

A call carries a short assertion signed with the key (RFC 7523 in shape), so nothing worth stealing travels, and the
centre holds no secret of the node.
"""

from __future__ import annotations

import base64
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils import uuid7

from platform_api.core.settings import SettingsError

AUDIENCE = "smartfit-access"
LIFETIME = timedelta(seconds=60)


def generate(path: Path) -> str:
    """Make a key at `path` (owner-readable only) unless one is there; returns its public part, base64 of 32 bytes.

    Raises:
        SettingsError: what lies there is not an Ed25519 key.
        OSError: the file cannot be written.
    """
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    return DeviceKey("", path).public_key


class DeviceKey:
    """Signs this node's assertions.

    Raises:
        SettingsError: the file is not an Ed25519 private key.
    """

    def __init__(self, edge_id: str, path: Path) -> None:
        self.edge_id = edge_id
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"SMARTFIT_EDGE_KEY_FILE: 키를 읽을 수 없습니다 (cannot read the key {path})"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SettingsError(f"SMARTFIT_EDGE_KEY_FILE: Ed25519 키가 아닙니다 (not an Ed25519 key: {path})")
        self._key = key

    @property
    def public_key(self) -> str:
        """Base64 of the 32 bytes that the centre registers."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def assertion(self, now: datetime) -> str:
        """A JWT (EdDSA) good for one minute from `now`, by the centre's clock."""
        claims = {
            "iss": self.edge_id,
            "sub": self.edge_id,
            "aud": AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "jti": str(uuid7()),
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA")


def main(arguments: list[str]) -> int:
    """`FILE`: make the key there and print the public part."""
    if len(arguments) != 1:
        sys.stderr.write("사용법 (usage): python -m access_edge.keys FILE\n")
        return 2
    sys.stdout.write(generate(Path(arguments[0])) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
