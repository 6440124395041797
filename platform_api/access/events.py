"""What this domain hears of others, and what it says of its gates."""

from __future__ import annotations

from sqlalchemy.orm import Session

from platform_api.access import branches, faces, members
from platform_api.access.models import Entry
from platform_api.core.events import Event, publish, subscribe

SUBSCRIBER = "access"


@subscribe(SUBSCRIBER, "auth.MemberRegistered", "auth.MemberChanged")
def on_member(session: Session, event: Event) -> None:
    """Keep our copy of the member; a suspended one is refused at the gates."""
    members.apply(session, event.data["member_id"], event.version, event.data.get("status", "active"))


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_member_erased(session: Session, event: Event) -> None:
    """Remove all that tells of the member, for good."""
    members.erase(session, event.data["member_id"], event.version)


@subscribe(SUBSCRIBER, "auth.FaceEnrolled")
def on_face_enrolled(session: Session, event: Event) -> None:
    """Fetch the template and take it into the gallery."""
    data = event.data
    faces.enrol(session, data["member_id"], data["template_id"], data["model_version"], event.version)


@subscribe(SUBSCRIBER, "auth.FaceWithdrawn")
def on_face_withdrawn(session: Session, event: Event) -> None:
    """Take the templates out of the gallery and the edges."""
    faces.withdraw(session, event.data["member_id"], event.data["template_ids"])


@subscribe(SUBSCRIBER, "branch.BranchInfoCreated", "branch.BranchInfoChanged")
def on_branch(session: Session, event: Event) -> None:
    """Keep our copy of the branch, as far as the gates need it."""
    data = event.data
    fields = {name: data[name] for name in ("name", "timezone", "hours", "capacity")}
    branches.apply(session, data["branch_id"], event.version, fields, data["status"])


def announce(session: Session, entry: Entry) -> None:
    """Publish what a gate decided, in the transaction that keeps the entry."""
    name = "access.AccessGranted" if entry.outcome == "granted" else "access.AccessDenied"
    publish(
        session,
        name,
        subject=entry.entry_id,
        version=1,
        data={
            "entry_id": entry.entry_id,
            "branch_id": entry.branch_id,
            "gate_id": entry.gate_id,
            "member_id": entry.member_id,
            "method": entry.method,
            "reason": entry.reason,
            "at": entry.at.isoformat(),
        },
    )
