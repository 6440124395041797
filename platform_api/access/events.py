"""What this domain hears of others, and what it says of its gates."""

from __future__ import annotations

from sqlalchemy.orm import Session

from platform_api.access import branches, face_models, faces, members
from platform_api.access.models import Entry
from platform_api.core.events import Event, publish, subscribe
from platform_api.core.events.forgetting import forget_messages

SUBSCRIBER = "access"
FACE = "face"


@subscribe(SUBSCRIBER, "auth.MemberRegistered", "auth.MemberChanged")
def on_member(session: Session, event: Event) -> None:
    """Keep our copy of the member; a suspended one is refused at the gates."""
    members.apply(session, event.data["member_id"], event.version, event.data.get("status", "active"))


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_member_erased(session: Session, event: Event) -> None:
    """Remove all that tells of the member, for good."""
    forget_messages(session, event.data["member_id"])
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


@subscribe(SUBSCRIBER, "mlops.ModelStaged")
def on_staged(session: Session, event: Event) -> None:
    """A face model comes to be tried, or is no longer: the edges are told."""
    if event.data["model"] == FACE:
        face_models.stage(session, event.data, event.version)


@subscribe(SUBSCRIBER, "mlops.ModelDeployed")
def on_deployed(session: Session, event: Event) -> None:
    """Another face model is live: the edges swap to it."""
    if event.data["model"] == FACE:
        face_models.make_live(session, event.data["version"], event.version, rolled_back=False)


@subscribe(SUBSCRIBER, "mlops.ModelRolledBack")
def on_rolled_back(session: Session, event: Event) -> None:
    """An earlier face model is live again: the edges swap back."""
    if event.data["model"] == FACE:
        face_models.make_live(session, event.data["version"], event.version, rolled_back=True)


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
