"""What this domain holds of a member (see core.personal)."""

from __future__ import annotations

from platform_api.branch.models import ErasedMember, Review, Task, Visit
from platform_api.core.personal import STAFF, Personal, Rows, routes

PERSONAL = Personal(
    "branch",
    rows=[
        Rows(Task, lambda member_id: Task.helper_id == member_id, hide=("decided_by",)),
        Rows(Review, lambda member_id: Review.member_id == member_id),
        Rows(Visit, lambda member_id: Visit.member_id == member_id),
        Rows(ErasedMember, lambda member_id: ErasedMember.member_id == member_id),
    ],
    left_out={"task.decided_by": STAFF, "branch": f"지점 정보: {STAFF}", "preference": f"지점의 특성: {STAFF}"},
)
blp = routes(lambda: PERSONAL, "branch")
