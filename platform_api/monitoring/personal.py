"""What this domain holds of a member (see core.personal): acts of staff, and nothing of members."""

from __future__ import annotations

from platform_api.core.personal import STAFF, Personal, routes

PERSONAL = Personal(
    "monitoring",
    rows=[],
    left_out={"fault": STAFF, "maintenance_window": STAFF, "branch": STAFF, "equipment": STAFF},
)
blp = routes(lambda: PERSONAL, "monitoring")
