"""Telling that a model did not come to serve, and why: what stops a line or a deployment must not stop in silence."""

from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.events import publish
from platform_api.mlops import catalogue

LONGEST_REASON = 500


def tell(session: Session, model: str, version: str | None, at_stage: str, subject_id: str, reason: str) -> None:
    """Publish ModelHeldBack, in the transaction that ends the training or deployment.

    Args:
        at_stage: "training" or "deployment"; subject_id: its id.
    """
    locked = catalogue.lock(session, model)
    locked.revision += 1
    data = {
        "model": model,
        "version": version,
        "at_stage": at_stage,
        "subject_id": subject_id,
        "reason": reason.strip()[:LONGEST_REASON] or "?",
        "at": clock.now().isoformat(),
    }
    publish(session, "mlops.ModelHeldBack", subject=model, version=locked.revision, data=data)
