"""The list of access tokens that end before their time; how it is read is told in core.security.revocation.

A row is kept until the last token it is about has ended, and holds a hash, not the member or the session.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.auth.models import Revocation
from platform_api.core.clock import now
from platform_api.core.database import on_commit, unit_of_work
from platform_api.core.security.revocation import ALL, Reading, Revoked, announce, of_member, of_session
from platform_api.core.security.tokens import LEEWAY_SECONDS, LIFE

KEPT = LIFE + timedelta(seconds=LEEWAY_SECONDS + 60)
"""A token that was signed just before, by a clock a little ahead, has ended as well."""


def revoke_session(session: Session, session_id: str) -> None:
    """All access tokens of this session."""
    _add(session, of_session(session_id), ALL)


def revoke_before(session: Session, member_id: str, version: int) -> None:
    """All access tokens of a member that were issued before their `version`."""
    _add(session, of_member(member_id), version)


def revoke_member(session: Session, member_id: str) -> None:
    """All access tokens of a member, for good."""
    _add(session, of_member(member_id), ALL)


def since(at: float) -> Reading:
    """What was revoked since Unix time `at` and still counts. Raises DBAPIError without the database."""
    with unit_of_work("auth") as session:
        read_at: datetime = session.scalars(select(func.clock_timestamp())).one()
        rows = session.scalars(
            select(Revocation).where(
                Revocation.at >= datetime.fromtimestamp(max(at, 0.0), UTC), Revocation.until > now()
            )
        )
        return Reading(read_at.timestamp(), [Revoked(row.key, row.least, row.until.timestamp()) for row in rows])


def forget(session: Session) -> int:
    """Delete rows whose tokens have all ended. Returns how many."""
    gone = session.execute(delete(Revocation).where(Revocation.until <= now()).returning(Revocation.key))
    return len(gone.all())


def _add(session: Session, key: str, least: int) -> None:
    until = now() + KEPT
    row = insert(Revocation).values(key=key, least=least, at=func.clock_timestamp(), until=until)
    new = row.excluded
    changed = {"least": func.greatest(Revocation.least, new.least), "at": new.at, "until": new.until}
    kept = session.execute(
        row.on_conflict_do_update(index_elements=[Revocation.key], set_=changed).returning(Revocation.least)
    ).scalar_one()
    on_commit(session, lambda: announce(Revoked(key, kept, until.timestamp())))
