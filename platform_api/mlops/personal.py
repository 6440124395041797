"""What this domain holds of a member (see core.personal): acts of staff. Whose work a verdict was about is not kept here."""

from __future__ import annotations

from platform_api.core.personal import STAFF, Personal, routes

PERSONAL = Personal(
    "mlops",
    rows=[],
    left_out={
        **dict.fromkeys(("version", "dataset", "training", "deployment", "deployment_step"), STAFF),
        "audit_report": "감사 보고; 사람은 가명으로만 있고 원래 기록은 audit_log에 있습니다"
        " (reports of audits, people under pseudonyms; what they rest on is in audit_log)",
    },
)
blp = routes(lambda: PERSONAL, "mlops")
