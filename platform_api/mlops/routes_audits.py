"""HTTP of the reports of the audit trails: written by Dagster, read by operators."""

import re
from typing import Any

from platform_api.core.errors import Problem
from platform_api.core.schemas import PageQuery
from platform_api.core.security import principal, require
from platform_api.core.uploads import body_up_to
from platform_api.core.web import blueprint, current_session, transaction
from platform_api.mlops import audits, schemas_audits
from platform_api.mlops.models import AuditReport

blp = blueprint("mlops-audits", "/mlops/v1", "Audit: what the daily analysis of the trails found")
blueprints = [blp]
MOST_BYTES = 2**18
_NAME = re.compile(r"\d{4}-\d{2}-\d{2}|chain")


@blp.get("/audits")
@require("operator")
@transaction("mlops")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_audits.ReportPage)
def list_audits(query: dict[str, Any]) -> dict[str, Any]:
    """Reports of the audit trails, the newest day first."""
    items, cursor = audits.listed(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/audits/<name>")
@require("operator")
@transaction("mlops")
@blp.response(200, schemas_audits.ReportStory)
def get_audit(name: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The report of a day, or of the hash chains, with the people it is about; that you looked is recorded."""
    return audits.shown(current_session(), principal(), name), 200, {"Cache-Control": "no-store"}


@blp.put("/audits/<name>")
@body_up_to(MOST_BYTES)
@require("service")
@transaction("mlops")
@blp.arguments(schemas_audits.NewReport)
@blp.response(200, schemas_audits.ReportSchema)
def keep_audit(wanted: dict[str, Any], name: str) -> AuditReport:
    """Keep the report of a day; operators hear of what is new in it."""
    if not _NAME.fullmatch(name):
        raise Problem(404, "audit_report_not_found", "날짜(YYYY-MM-DD) 또는 chain이어야 합니다.", "A day or chain.")
    return audits.keep(current_session(), name, **wanted)
