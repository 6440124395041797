"""What the auth domain tells the others.

Every announcement counts `member.version` up, so that a subscriber can tell a late event from a new one. The caller
holds the member's row (SELECT ... FOR UPDATE).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from platform_api.auth.models import FaceTemplate, Member
from platform_api.core.clock import now
from platform_api.core.events import publish


def _next_version(member: Member) -> int:
    member.version += 1
    member.updated_at = now()
    return member.version


def member_registered(session: Session, member: Member) -> None:
    """The member is new; this is version 1."""
    data = {"member_id": member.id, "roles": sorted(member.roles), "language": member.language}
    publish(session, "auth.MemberRegistered", subject=member.id, version=member.version, data=data)


def member_changed(session: Session, member: Member) -> None:
    """Profile, roles, language or status changed."""
    data = {
        "member_id": member.id,
        "roles": sorted(member.roles),
        "language": member.language,
        "status": member.status,
    }
    publish(session, "auth.MemberChanged", subject=member.id, version=_next_version(member), data=data)


def member_erased(session: Session, member: Member) -> None:
    """The member is gone."""
    data = {"member_id": member.id}
    publish(session, "auth.MemberErased", subject=member.id, version=_next_version(member), data=data)


def face_enrolled(session: Session, member: Member, template: FaceTemplate) -> None:
    """A template may be fetched."""
    data = {"member_id": member.id, "template_id": template.id, "model_version": template.model_version}
    publish(session, "auth.FaceEnrolled", subject=member.id, version=_next_version(member), data=data)


def face_withdrawn(session: Session, member: Member, template_ids: Sequence[str]) -> None:
    """Templates are gone."""
    data = {"member_id": member.id, "template_ids": list(template_ids)}
    publish(session, "auth.FaceWithdrawn", subject=member.id, version=_next_version(member), data=data)
