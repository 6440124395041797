"""What this domain holds of a member (see core.personal)."""

from __future__ import annotations

from platform_api.access import strangers
from platform_api.access.models import Enrolment, Entry, Member, Membership, QrPass, Stranger, WithdrawnTemplate
from platform_api.core.personal import STAFF, Personal, Rows, routes

PERSONAL = Personal(
    "access",
    rows=[
        Rows(Member, lambda member_id: Member.member_id == member_id),
        Rows(Membership, lambda member_id: Membership.member_id == member_id),
        # Every entry and every refusal in which the member was known.
        Rows(Entry, lambda member_id: Entry.member_id == member_id),
        Rows(Enrolment, lambda member_id: Enrolment.member_id == member_id),
        Rows(WithdrawnTemplate, lambda member_id: WithdrawnTemplate.member_id == member_id),
        Rows(QrPass, lambda member_id: QrPass.member_id == member_id),
        Rows(
            Stranger,
            lambda member_id: Stranger.member_id == member_id,
            hide=("object_key", "decided_by", "note"),
            picture=lambda row: row.object_key,
        ),
    ],
    left_out={
        "stranger.decided_by": STAFF,
        "template_row": "얼굴 벡터의 회전된 사본; 원본은 auth의 face_template에 있습니다"
        " (rotated copies of the face vectors; the vectors themselves are in auth's face_template)",
        "change": "출입 노드에 알릴 변경 목록; 내용은 member와 membership에 있습니다"
        " (what gate nodes are told to read again; the content is in member and membership)",
    },
    store=strangers.store,
)
blp = routes(lambda: PERSONAL, "access")
