"""The audit trail: every important act, in the domain's own database, in the transaction of the act itself."""

from typing import Any

import structlog
from sqlalchemy.orm import Session

from platform_api.core.models import AuditRecord
from platform_api.core.telemetry.redaction import redact


def record(session: Session, actor: str, action: str, target: str, details: dict[str, Any] | None = None) -> None:
    """Add a row to the trail.

    Args:
        actor: id of who did it, or "system".
        action: what, `noun.verb`.
        target: id of what it was done to.
        details: further facts; secrets and faces are taken out.
    """
    context = structlog.contextvars.get_contextvars()
    session.add(
        AuditRecord(
            actor=actor,
            action=action,
            target=target,
            details=redact(details or {}),
            request_id=context.get("request_id"),
        )
    )
