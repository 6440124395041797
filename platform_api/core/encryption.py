"""Envelope encryption of faces at rest, with key ids so that keys can be rotated.

Each blob gets a fresh data key; the data key is wrapped by a key-encryption key of the ring, whose id stands in
the blob. Both layers are AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces. The `context` is authenticated
but not stored: a blob moved to another object, row or member does not open. Rotation rewraps the data key alone.

A new key is in the ring for a while before it seals: processes read the file again when it changes, and none must meet a
blob under a key it has not heard of.

Layout: b"SFE1" | len(kid) u8 | kid | wrap nonce 12 | wrapped data key 48 | nonce 12 | ciphertext + tag.
"""

import base64
import binascii
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platform_api.core.settings import SettingsError

log = structlog.get_logger(__name__)

_MAGIC = b"SFE1"
_NONCE = 12
_KEY = 32
_WRAPPED = _KEY + 16


class DecryptionError(Exception):
    """The blob is damaged, belongs to another context, or its key is not in the ring."""


@dataclass(frozen=True)
class KeyRing:
    """The key-encryption keys: `current` seals, all open. `following`: which key seals from which Unix time on."""

    current: str
    keys: dict[str, bytes]
    following: tuple[str, float] | None = None

    @classmethod
    def generate(cls) -> "KeyRing":
        """A ring with one fresh key."""
        return cls("k1", {"k1": secrets.token_bytes(_KEY)})

    @classmethod
    def from_file(cls, path: Path) -> "KeyRing":
        """Read {"current": kid, "keys": {kid: base64 of 32 bytes}, "following": [kid, Unix time] where there is one}.

        Raises:
            SettingsError: the file is missing or not such a ring.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            keys = {kid: base64.b64decode(value, validate=True) for kid, value in document["keys"].items()}
            following = document.get("following")
            ring = cls(document["current"], keys, (str(following[0]), float(following[1])) if following else None)
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, binascii.Error) as error:
            raise SettingsError(
                f"SMARTFIT_KEYRING_FILE: 키 파일을 읽을 수 없습니다 (not a key ring: {path})"
            ) from error
        named = {ring.current, *(ring.following or ())[:1]}
        if not named <= set(keys) or any(len(key) != _KEY for key in keys.values()):
            raise SettingsError(f"SMARTFIT_KEYRING_FILE: 키는 32바이트여야 합니다 (keys must be 32 bytes: {path})")
        return ring

    def to_file(self, path: Path) -> None:
        """Write the ring, readable by its owner only, in one step."""
        document: dict[str, object] = {
            "current": self.current,
            "keys": {kid: base64.b64encode(key).decode() for kid, key in self.keys.items()},
        }
        if self.following:
            document["following"] = list(self.following)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def now(self) -> "KeyRing":
        """The ring as it is at this moment."""
        if self.following is None or time.time() < self.following[1]:
            return self
        return KeyRing(self.following[0], self.keys)

    def rotated(self, seals_from: float | None = None) -> "KeyRing":
        """A ring with one key more, which seals from that Unix time on (at once where left out); the old ones still open."""
        numbers = [int(kid[1:]) for kid in self.keys if kid[:1] == "k" and kid[1:].isdigit()]
        kid = f"k{max(numbers, default=0) + 1}"
        keys = {**self.keys, kid: secrets.token_bytes(_KEY)}
        return KeyRing(kid, keys) if seals_from is None else KeyRing(self.current, keys, (kid, seals_from))

    def derive(self, purpose: str, length: int = 32, kid: str | None = None) -> bytes:
        """Key material for `purpose` from key `kid` (HKDF-SHA256, RFC 5869); for keyed transforms, not for blobs."""
        key = self.keys[kid or self.current]
        return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose.encode()).derive(key)


class RingFile:
    """A key ring in a file that may change while it is in use.

    Raises:
        SettingsError: it is missing or not a ring (at first; later the ring that was good goes on).
    """

    LOOK_S = 1.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._ring = KeyRing.from_file(path)
        self._looked = time.monotonic()

    def now(self) -> KeyRing:
        """The ring as it is at this moment; the file is looked at once a second."""
        if time.monotonic() - self._looked >= self.LOOK_S:
            with self._lock:
                self._reload()
        return self._ring.now()

    def _reload(self) -> None:
        self._looked = time.monotonic()
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._ring = KeyRing.from_file(self.path)
            self._stamp = stamp
        except SettingsError as error:
            log.error("keyring_not_read", error=str(error))

    def _look(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


class Envelope:
    """Seals and opens blobs under a key ring."""

    def __init__(self, keyring: KeyRing | RingFile) -> None:
        self._source = keyring

    @property
    def keyring(self) -> KeyRing:
        """The ring as it is at this moment."""
        return self._source.now()

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt `plaintext`, bound to `context`."""
        data_key = secrets.token_bytes(_KEY)
        nonce = secrets.token_bytes(_NONCE)
        return self._wrap(data_key, context) + nonce + AESGCM(data_key).encrypt(nonce, plaintext, context)

    def open(self, blob: bytes, context: bytes) -> bytes:
        """Decrypt a blob sealed for `context`.

        Raises:
            DecryptionError: see there.
        """
        kid, wrap_end, data_key = self._unwrap(blob, context)
        body = blob[wrap_end:]
        try:
            return AESGCM(data_key).decrypt(body[:_NONCE], body[_NONCE:], context)
        except (InvalidTag, ValueError) as error:
            raise DecryptionError(f"the blob under key {kid} does not open") from error

    def rewrap(self, blob: bytes, context: bytes) -> bytes:
        """The same blob with its data key wrapped by the current key.

        Raises:
            DecryptionError: see there.
        """
        _, wrap_end, data_key = self._unwrap(blob, context)
        return self._wrap(data_key, context) + blob[wrap_end:]

    @staticmethod
    def key_id(blob: bytes) -> str:
        """The id of the key that wraps `blob`.

        Raises:
            DecryptionError: not a sealed blob.
        """
        if blob[:4] != _MAGIC or len(blob) < 5 or len(blob) < 5 + blob[4]:
            raise DecryptionError("not a sealed blob")
        return blob[5 : 5 + blob[4]].decode("ascii", "replace")

    def _wrap(self, data_key: bytes, context: bytes) -> bytes:
        ring = self.keyring
        kid = ring.current.encode()
        nonce = secrets.token_bytes(_NONCE)
        wrapped = AESGCM(ring.keys[ring.current]).encrypt(nonce, data_key, kid + context)
        return _MAGIC + bytes([len(kid)]) + kid + nonce + wrapped

    def _unwrap(self, blob: bytes, context: bytes) -> tuple[str, int, bytes]:
        kid = self.key_id(blob)
        key = self.keyring.keys.get(kid)
        if key is None:
            raise DecryptionError(f"key {kid} is not in the ring")
        start = 5 + blob[4]
        end = start + _NONCE + _WRAPPED
        try:
            data_key = AESGCM(key).decrypt(
                blob[start : start + _NONCE], blob[start + _NONCE : end], kid.encode() + context
            )
        except (InvalidTag, ValueError) as error:
            raise DecryptionError(f"the data key under key {kid} does not open") from error
        return kid, end, data_key
