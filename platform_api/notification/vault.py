"""Sealing of what must not lie open in the database: registration tokens, e-mail addresses, codes."""

import hashlib
from functools import cache

from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.settings import SettingsError
from platform_api.notification.settings import settings


@cache
def envelope() -> Envelope:
    """The envelope of this process.

    Raises:
        SettingsError: no key ring.
    """
    path = settings().keyring_file
    if path is None:
        raise SettingsError(
            "SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; push tokens and e-mail addresses are sealed with it)"
        )
    return Envelope(RingFile(path))


def seal(value: str, what: str, owner: str) -> bytes:
    """Seal `value`, the `what` of `owner`."""
    return envelope().seal(value.encode(), context(what, owner))


def unseal(blob: bytes, what: str, owner: str) -> str:
    """Open it. Raises DecryptionError where it is not the `what` of `owner`."""
    return envelope().open(blob, context(what, owner)).decode()


def address_hash(address: str) -> str:
    """Finds an address again. Keyed, since addresses could be searched for; by the oldest key, since keys rotate."""
    ring = envelope().keyring
    key = ring.derive("notification/email", kid=min(ring.keys))
    return hashlib.blake2b(address.lower().encode(), key=key, digest_size=32).hexdigest()


def token_hash(token: str) -> str:
    """Finds a registration token again; it is too random to be searched for."""
    return hashlib.sha256(token.encode()).hexdigest()


def context(what: str, owner: str) -> bytes:
    """What the `what` of `owner` is bound to."""
    return f"notification/{what}/{owner}".encode()
