"""What this domain holds of a member (see core.personal)."""

from __future__ import annotations

from typing import Any

from platform_api.core.personal import Personal, Rows, routes
from platform_api.notification import vault
from platform_api.notification.models import (
    CodeSent,
    Delivery,
    Device,
    EmailAddress,
    Flood,
    Member,
    Notification,
    Preference,
    Regular,
)


def _address(row: EmailAddress) -> dict[str, Any]:
    return {"address": vault.unseal(row.address_sealed, "email", row.member_id)}


PERSONAL = Personal(
    "notification",
    rows=[
        Rows(Member, lambda member_id: Member.member_id == member_id),
        Rows(Regular, lambda member_id: Regular.member_id == member_id),
        # A registration token would let its holder send to the device.
        Rows(Device, lambda member_id: Device.member_id == member_id, hide=("token_sha256",)),
        Rows(Preference, lambda member_id: Preference.member_id == member_id),
        Rows(
            EmailAddress,
            lambda member_id: EmailAddress.member_id == member_id,
            hide=("address_hash",),
            more=_address,
        ),
        Rows(CodeSent, lambda member_id: CodeSent.member_id == member_id, hide=("address_hash",)),
        Rows(Notification, lambda member_id: Notification.member_id == member_id),
        Rows(Delivery, lambda member_id: Delivery.member_id == member_id),
        Rows(Flood, lambda member_id: Flood.member_id == member_id),
    ],
    left_out={
        "branch": "지점의 담당자 목록; 맡은 지점은 auth의 member에 있습니다"
        " (managers of a branch; yours are in auth's member, branch_ids)",
        "alert": "장비 고장 알림; 당신이 받은 것은 notification에 있습니다"
        " (faults of equipment; what you were told of them is in notification)",
    },
)
blp = routes(lambda: PERSONAL, "notification")
