"""Sealing of what must not lie open in the database: templates and card tokens; and the object store for crops."""

from __future__ import annotations

from functools import cache

from platform_api.auth.settings import settings
from platform_api.core.encryption import Envelope, RingFile
from platform_api.core.settings import SettingsError
from platform_api.core.storage import ObjectStore


@cache
def envelope() -> Envelope:
    """The envelope of this process.

    Raises:
        SettingsError: no key ring.
    """
    path = settings().keyring_file
    if path is None:
        raise SettingsError("SMARTFIT_KEYRING_FILE: 설정이 없습니다 (not set; faces are sealed with it)")
    return Envelope(RingFile(path))


@cache
def store() -> ObjectStore:
    """The object store of this process."""
    return ObjectStore.from_settings(settings())


def template_context(template_id: str) -> bytes:
    """What a template's sealing is bound to."""
    return f"auth/template/{template_id}".encode()


def card_context(member_id: str) -> bytes:
    """What a card token's sealing is bound to."""
    return f"auth/card/{member_id}".encode()
