"""What the auth domain hears: which face models are in use, and in which frames of the gates a member was known."""

from __future__ import annotations

from sqlalchemy.orm import Session

from platform_api.auth import face_models, frames
from platform_api.core.events import Event, subscribe

SUBSCRIBER = "auth"
FACE = "face"


@subscribe(SUBSCRIBER, "mlops.ModelStaged")
def on_staged(session: Session, event: Event) -> None:
    """A face model comes to be tried, or is no longer: faces are enrolled under it as well."""
    if event.data["model"] == FACE:
        face_models.stage(session, event.data, event.version)


@subscribe(SUBSCRIBER, "mlops.ModelDeployed")
def on_deployed(session: Session, event: Event) -> None:
    """Another face model is live."""
    if event.data["model"] == FACE:
        face_models.make_live(session, event.data["version"], event.version, rolled_back=False)


@subscribe(SUBSCRIBER, "mlops.ModelRolledBack")
def on_rolled_back(session: Session, event: Event) -> None:
    """An earlier face model is live again."""
    if event.data["model"] == FACE:
        face_models.make_live(session, event.data["version"], event.version, rolled_back=True)


@subscribe(SUBSCRIBER, "access.StrangerIdentified")
def on_identified(session: Session, event: Event) -> None:
    """A member was known in a frame that a gate had refused: kept for teaching where the member agrees to that."""
    frames.keep(session, event.data)
