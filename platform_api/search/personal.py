"""What this domain holds of a member (see core.personal). Searches are kept by nobody."""

from __future__ import annotations

from platform_api.core.personal import Personal, Rows, routes
from platform_api.search.models import Member, Report, Review, Visit

PERSONAL = Personal(
    "search",
    rows=[
        Rows(Member, lambda member_id: Member.member_id == member_id),
        Rows(Visit, lambda member_id: Visit.member_id == member_id),
        # Who reported a review is theirs to tell.
        Rows(Review, lambda member_id: Review.member_id == member_id, hide=("open_reports", "reported_at")),
        Rows(Report, lambda member_id: Report.member_id == member_id),
    ],
    left_out={
        "rebuild": "직원으로서 시작한 색인 작업; audit_log에 있습니다 (rebuilds that you asked for as staff; see audit_log)",
        "pending": "색인에 반영할 변경 목록 (what is still to be indexed; the content is in review)",
    },
)
blp = routes(lambda: PERSONAL, "search")
