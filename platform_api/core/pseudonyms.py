"""Names that stand for members where it matters what one member did, and not who that is: the learning side's data.

A pseudonym is the member's id under AES-SIV (RFC 5297), with a key out of the platform's ring: the same id gives the same
pseudonym, a domain that holds the ring turns it back, nobody else does, and one that was made up is refused.
"""

import base64
import binascii
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from platform_api.core.encryption import KeyRing, RingFile
from platform_api.core.settings import SettingsError

LONGEST = 200
_PURPOSE = "member-pseudonyms"


class UnknownPseudonym(Exception):
    """Not a pseudonym of ours, or of a key that has been taken out of the ring."""


class Pseudonyms:
    """Pseudonyms under a key ring; those under earlier keys of the ring are read as well."""

    def __init__(self, ring: KeyRing | RingFile) -> None:
        self._ring = ring
        self._cipher = lru_cache(maxsize=16)(lambda key: AESSIV(KeyRing("", {"": key}).derive(_PURPOSE, 64)))
        self._of = lru_cache(maxsize=100_000)(self._make)

    @classmethod
    def by_ring_file(cls, path: Path | None) -> "Pseudonyms":
        """Under the ring of the process (SMARTFIT_KEYRING_FILE), followed as it changes.

        Raises:
            SettingsError: there is none.
        """
        if path is None:
            raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; pseudonyms need a key ring)")
        return cls(RingFile(path))

    def of(self, member_id: str) -> str:
        """The member's pseudonym, under the key that seals at this moment."""
        ring = self._ring.now()
        return self._of(ring.keys[ring.current], member_id)

    def _make(self, key: bytes, member_id: str) -> str:
        return base64.urlsafe_b64encode(self._cipher(key).encrypt(member_id.encode(), None)).decode().rstrip("=")

    def member_of(self, pseudonym: str) -> str:
        """The member's id.

        Raises:
            UnknownPseudonym: see there.
        """
        try:
            sealed = base64.b64decode(pseudonym + "=" * (-len(pseudonym) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise UnknownPseudonym(pseudonym) from error
        for key in self._ring.now().keys.values():
            try:
                return self._cipher(key).decrypt(sealed, None).decode()
            except (InvalidTag, ValueError):
                continue
        raise UnknownPseudonym(pseudonym)
