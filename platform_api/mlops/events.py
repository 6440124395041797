"""What this domain hears of others; what it says stands with the act, in `judging` and `catalogue`."""

from sqlalchemy.orm import Session

from platform_api.core.events import Event, subscribe
from platform_api.core.events.forgetting import forget_messages
from platform_api.mlops import confirmations, judging, observations

SUBSCRIBER = "mlops"


@subscribe(SUBSCRIBER, "helper.TaskSubmitted")
def on_submitted(session: Session, event: Event) -> None:
    """Judge the photos."""
    judging.submitted(session, event.data, event.version)


@subscribe(SUBSCRIBER, "branch.TaskConfirmed")
def on_confirmed(session: Session, event: Event) -> None:
    """Count what a person decided."""
    confirmations.heard(session, event.data, event.version)


@subscribe(SUBSCRIBER, "access.ModelObserved")
def on_observed(session: Session, event: Event) -> None:
    """Keep what a gate node reports of a version."""
    observations.heard(session, event.data)


@subscribe(SUBSCRIBER, "auth.MemberErased")
def on_erased(session: Session, event: Event) -> None:
    """Nothing here is kept by member but what events say of one."""
    forget_messages(session, event.data["member_id"])
