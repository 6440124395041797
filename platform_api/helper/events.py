"""What this domain hears of others; what it says (TaskSubmitted) stands with the act, in `tasks`."""

from sqlalchemy.orm import Session

from platform_api.core.events import Event, subscribe
from platform_api.core.events.forgetting import forget_messages
from platform_api.helper import branches, members, tasks

SUBSCRIBER = "helper"


@subscribe(SUBSCRIBER, "branch.BranchInfoCreated", "branch.BranchInfoChanged")
def on_branch(session: Session, event: Event) -> None:
    """Keep our copy: whether work may be handed in there, and what day it is."""
    data = event.data
    branches.apply(session, data["branch_id"], event.version, data["name"], data["timezone"], data["status"])


@subscribe(SUBSCRIBER, "auth.MemberRegistered", "auth.MemberChanged")
def on_member(session: Session, event: Event) -> None:
    """Keep our copy of members; a suspended one hands nothing in and withdraws nothing."""
    data = event.data
    members.apply(session, data["member_id"], event.version, data["roles"], data.get("status", "active"))


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_member_erased(session: Session, event: Event) -> None:
    """Remove photos and every link to the person; the books stay."""
    forget_messages(session, event.data["member_id"])
    members.erase(session, event.data["member_id"], event.version)


@subscribe(SUBSCRIBER, "mlops.TaskJudged")
def on_judged(session: Session, event: Event) -> None:
    """The AI's verdict about a task."""
    tasks.judged(session, event.data, event.version)


@subscribe(SUBSCRIBER, "branch.TaskConfirmed")
def on_confirmed(session: Session, event: Event) -> None:
    """A manager's decision: the last word, and the reward."""
    tasks.decided(session, event.data, event.version)
