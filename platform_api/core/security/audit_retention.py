"""The old part of an audit trail goes after its time, and what stays can still be verified.

In its place stands an anchor: the number and hash of the last seal that went. The trail itself tells of the anchor, in a row
that the chain seals like any other, so that nobody can put another in its place. The database refuses to delete what no
anchor stands for, and an anchor that is too young (see `core.migrations`).
"""

from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.audit_views import LEAST_DAYS
from platform_api.core.database import in_batches, unit_of_work
from platform_api.core.models import AuditAnchor, AuditRecord, AuditSeal
from platform_api.core.security.audit import record
from platform_api.core.security.audit_chain import ANCHORED
from platform_api.core.settings import Settings, load

BATCH = 2000
LEAST_ROWS = 1000
"""Each anchor is a row for ever, so the trail is cut where that is worth while, and not every hour."""


class AuditSettings(Settings):
    """How long audit trails are kept (`SMARTFIT_<NAME>`)."""

    audit_keep_days: int = Field(
        default=3 * 365, ge=LEAST_DAYS + 1, description="Days after its sealing that a row of the audit trail goes."
    )


def forget(domain: str, least: int = LEAST_ROWS) -> int:
    """Delete what is past its time, where that is `least` rows or more. Returns how many rows went.

    Raises:
        SettingsError: the period is wrong.
    """
    before = clock.now() - timedelta(days=load(AuditSettings).audit_keep_days)
    with unit_of_work(domain) as session:
        _anchor(session, before, least)
    return in_batches(domain, _delete)


def _anchor(session: Session, before: datetime, least: int) -> None:
    anchored = session.scalar(select(func.max(AuditAnchor.number))) or 0
    # The newest seal stays: the next one is numbered and hashed after it.
    last = select(func.max(AuditSeal.number)).scalar_subquery()
    old = (
        select(AuditSeal)
        .where(AuditSeal.sealed_at < before, AuditSeal.number > anchored, AuditSeal.number < last)
        .order_by(AuditSeal.number.desc())
        .limit(1)
    )
    cut = session.scalar(old)
    if cut is None or cut.number - anchored < least:
        return
    session.add(AuditAnchor(number=cut.number, hash=cut.hash))
    record(session, "system", ANCHORED, "audit_log", {"seal": cut.number, "digest": cut.hash.hex()})


def _delete(session: Session) -> int:
    """Delete some of what an anchor stands for: the rows, and then their seals."""
    anchored = select(func.max(AuditAnchor.number)).scalar_subquery()
    wanted = select(AuditSeal).where(AuditSeal.number <= anchored).order_by(AuditSeal.number).limit(BATCH)
    going = session.scalars(wanted).all()
    if not going:
        return 0
    session.execute(delete(AuditRecord).where(AuditRecord.position.in_([each.position for each in going])))
    session.execute(delete(AuditSeal).where(AuditSeal.number.in_([each.number for each in going])))
    return len(going)
