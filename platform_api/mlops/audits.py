"""What the daily analysis of the audit trails found: kept for operators, who are told of it once.

Dagster hands it over under pseudonyms; only here, for an operator who looks, they are turned back. That somebody looked is in
the trail itself.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.pagination import page
from platform_api.core.pseudonyms import Pseudonyms, UnknownPseudonym
from platform_api.core.security import Principal, audit
from platform_api.mlops.models import AuditReport
from platform_api.mlops.settings import settings

SEVERITIES = ("critical", "warning", "info")


@cache
def pseudonyms() -> Pseudonyms:
    """Under the platform's key ring. Raises SettingsError."""
    return Pseudonyms.by_ring_file(settings().keyring_file)


def keep(session: Session, name: str, findings: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> AuditReport:
    """Keep the report of a day (or of the chains); operators are told where it says anything grave that it did not say before.

    Args:
        name: the day, YYYY-MM-DD, or "chain".
        findings: as `data_assets.audit` makes them.
        counts: all findings by severity; there may be more than are handed over.
    """
    said = json.dumps([findings, counts], sort_keys=True, ensure_ascii=False).encode()
    digest = hashlib.sha256(said).hexdigest()
    report = session.get(AuditReport, name, with_for_update=True)
    if report is not None and report.digest == digest:
        return report
    known = {each["finding_id"] for each in report.findings} if report else set()
    if report is None:
        report = AuditReport(name=name, revision=0)
        session.add(report)
    report.digest, report.findings = digest, [dict(each) for each in findings]
    report.critical, report.warning, report.info = (counts[severity] for severity in SEVERITIES)
    report.revision, report.updated_at = report.revision + 1, clock.now()
    session.flush()
    new = [each for each in findings if each["finding_id"] not in known and each["severity"] != "info"]
    if new:
        _tell(session, report, new)
    return report


def listed(session: Session, cursor: str | None, limit: int) -> tuple[list[AuditReport], str | None]:
    """Reports, the newest day first."""
    return page(session, select(AuditReport), [AuditReport.name], cursor, limit)


def shown(session: Session, who: Principal, name: str) -> dict[str, Any]:
    """A report with the ids of the people it is about; that somebody looked is audited. Raises 404."""
    report = session.get(AuditReport, name)
    if report is None:
        raise Problem(404, "audit_report_not_found", "그날의 보고가 없습니다.", "There is no report of that day.")
    audit.record(session, who.id, "audit_report.view", name)
    fields = ("name", "critical", "warning", "info", "revision", "created_at", "updated_at")
    return {**{each: getattr(report, each) for each in fields}, "findings": [_named(each) for each in report.findings]}


def forget(session: Session) -> int:
    """Delete reports past their time. Returns how many."""
    before = clock.now() - timedelta(days=settings().audit_reports_keep_days)
    gone = session.execute(delete(AuditReport).where(AuditReport.updated_at < before).returning(AuditReport.name))
    return len(gone.all())


def _tell(session: Session, report: AuditReport, new: Sequence[Mapping[str, Any]]) -> None:
    data = {
        "name": report.name,
        "critical": sum(each["severity"] == "critical" for each in new),
        "warning": sum(each["severity"] == "warning" for each in new),
        "kinds": sorted({str(each["kind"]) for each in new}),
        "at": clock.now().isoformat(),
    }
    publish(session, "mlops.AuditFindings", subject=f"audit:{report.name}", version=report.revision, data=data)


def _named(finding: Mapping[str, Any]) -> dict[str, Any]:
    actor = finding["figures"].get("actor")
    return {**finding, "subject_id": _member(finding["subject"]), "actor_id": _member(actor) if actor else None}


def _member(pseudonym: str) -> str | None:
    try:
        return pseudonyms().member_of(pseudonym)
    except UnknownPseudonym:
        return None
