"""What this domain hears of others; what it says stands with the act, in `branches`, `queue` and `preferences`."""

from sqlalchemy.orm import Session

from platform_api.branch import faults, members, preferences, queue, reviews
from platform_api.core.events import Event, subscribe
from platform_api.core.events.forgetting import forget_messages

SUBSCRIBER = "branch"


@subscribe(SUBSCRIBER, "mlops.TaskJudged")
def on_judged(session: Session, event: Event) -> None:
    """A task waits for a person's decision."""
    queue.judged(session, event.data)


@subscribe(SUBSCRIBER, "search.ReviewPosted")
def on_review(session: Session, event: Event) -> None:
    """Keep our copy of the review."""
    reviews.apply(session, event.data, event.version)


@subscribe(SUBSCRIBER, "access.AccessGranted")
def on_entry(session: Session, event: Event) -> None:
    """Keep the visit."""
    preferences.visited(session, event.data)


@subscribe(SUBSCRIBER, "monitoring.EquipmentFault", "monitoring.EquipmentRecovered")
def on_fault(session: Session, event: Event) -> None:
    """Keep our copy of the fault, for the branch's managers."""
    faults.apply(session, event.data)


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_member_erased(session: Session, event: Event) -> None:
    """Remove all that tells of the member."""
    forget_messages(session, event.data["member_id"])
    members.erase(session, event.data["member_id"])
