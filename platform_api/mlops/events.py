"""What this domain hears of others; what it says stands with the act, in `judging` and `catalogue`."""

from sqlalchemy.orm import Session

from platform_api.core.events import Event, subscribe
from platform_api.mlops import confirmations, judging

SUBSCRIBER = "mlops"


@subscribe(SUBSCRIBER, "helper.TaskSubmitted")
def on_submitted(session: Session, event: Event) -> None:
    """Judge the photos."""
    judging.submitted(session, event.data, event.version)


@subscribe(SUBSCRIBER, "branch.TaskConfirmed")
def on_confirmed(session: Session, event: Event) -> None:
    """Count what a person decided."""
    confirmations.heard(session, event.data, event.version)
