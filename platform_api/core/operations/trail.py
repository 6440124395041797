"""Searching the audit trail of a domain; who looked is recorded in it too."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.models import AuditRecord
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit

SEARCHED = "audit.search"


def search(
    session: Session,
    caller: Principal,
    domain: str,
    *,
    actor: str | None,
    action: str | None,
    target: str | None,
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[AuditRecord], str | None]:
    """Acts, newest first, and the cursor of the next page.

    Args:
        action: `noun.verb`; `noun.` finds all that was done to such things.
        since: the acts of this moment and later.
        until: those before this one.
    """
    query = select(AuditRecord)
    if actor:
        query = query.where(AuditRecord.actor == actor)
    if target:
        query = query.where(AuditRecord.target == target)
    if action:
        named = AuditRecord.action.startswith(action, autoescape=True)
        query = query.where(named if action.endswith(".") else AuditRecord.action == action)
    if since is not None:
        query = query.where(AuditRecord.at >= since)
    if until is not None:
        query = query.where(AuditRecord.at < until)
    found = page(session, query, [AuditRecord.at, AuditRecord.position], cursor, limit)
    asked: dict[str, Any] = {"actor": actor, "action": action, "target": target, "from": since, "to": until}
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items()}
    wanted = {name: value for name, value in told.items() if value is not None}
    audit.record(session, caller.id, SEARCHED, domain, wanted)
    return found
