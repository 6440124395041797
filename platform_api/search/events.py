"""What this domain hears of others. What it says (ReviewPosted) is said in `reviews.announce`."""

from datetime import datetime

from sqlalchemy.orm import Session

from platform_api.core.events import Event, subscribe
from platform_api.core.events.forgetting import forget_messages
from platform_api.search import branches, members, reviews

SUBSCRIBER = "search"
_PASSES = {"face", "qr", "manual"}


@subscribe(SUBSCRIBER, "branch.BranchInfoCreated", "branch.BranchInfoChanged")
def on_branch(session: Session, event: Event) -> None:
    """Keep our copy of the branch, and index it."""
    branches.apply(session, event.data["branch_id"], event.version, event.data)


@subscribe(SUBSCRIBER, "branch.BranchPreferenceCreated")
def on_branch_preference(session: Session, event: Event) -> None:
    """Keep what was measured of the branch's character; waits where the branch is not known yet."""
    data = event.data
    branches.apply_traits(session, data["branch_id"], datetime.fromisoformat(data["computed_at"]), data["traits"])


@subscribe(SUBSCRIBER, "access.AccessGranted")
def on_access_granted(session: Session, event: Event) -> None:
    """The member has been there. Leaving is no visit, nor is an emergency."""
    data = event.data
    if data["member_id"] is not None and data["method"] in _PASSES:
        members.visited(session, data["member_id"], data["branch_id"], datetime.fromisoformat(data["at"]))


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_member_erased(session: Session, event: Event) -> None:
    """Remove all that tells of the member, and tell those who hold copies of the reviews."""
    forget_messages(session, event.data["member_id"])
    for review in members.erase(session, event.data["member_id"]):
        review.version += 1
        reviews.announce(session, review, "removed")
