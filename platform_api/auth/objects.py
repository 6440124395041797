"""Crops of faces in the object store, sealed, kept in step with the database (see `core.objects`)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from platform_api.auth import vault
from platform_api.auth.models import ObjectDeletion
from platform_api.core.database import on_commit
from platform_api.core.objects import TrackedObjects

SWEPT_BESIDE = 20

crops = TrackedObjects("auth", ObjectDeletion, vault.store)


def folder(member_id: str) -> str:
    """Where a member's crops lie."""
    return f"faces/{member_id}"


def remove_folder(session: Session, member_id: str, keys: Sequence[str]) -> None:
    """Delete all there is of a member who is erased; `keys` are those known, should the store not answer now."""
    crops.remove(session, keys)
    on_commit(session, lambda: vault.store().delete_prefix(folder(member_id)))


def sweep_soon(session: Session) -> None:
    """Sweep a few once the transaction of `session` is kept."""
    on_commit(session, lambda: crops.sweep(SWEPT_BESIDE))
