"""Which face models the edges may run, which one is live, and with which thresholds; told to all edges by the feed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ml_bentos.face.thresholds import Thresholds
from platform_api.access import feed, gallery
from platform_api.access.models import EVERY_BRANCH, Model
from platform_api.core.errors import Problem
from platform_api.core.security import Principal, audit


def ensure(session: Session, version: str) -> Model:
    """The model of that version. A new one comes with the thresholds measured for it; the very first becomes live."""
    known = session.get(Model, version)
    if known is not None:
        return known
    model = gallery.ensure_model(session, version)
    if model.thresholds is None:
        try:
            model.thresholds = Thresholds.for_version(version).to_dict()
        except (FileNotFoundError, KeyError, ValueError):
            model.thresholds = None  # the edges then go by the thresholds packed with their own copy
        model.live = not session.scalar(select(func.count()).where(Model.live))
        session.flush()
        feed.touch(session, "model", [version], [EVERY_BRANCH])
    return model


def publish(session: Session, who: Principal, version: str, live: bool, thresholds: dict[str, Any] | None) -> Model:
    """Make a model known to the edges, or live in place of the one before.

    Raises:
        Problem: 422 `thresholds_invalid`.
    """
    if thresholds is not None:
        try:
            thresholds = Thresholds.from_dict({**thresholds, "model_version": version}).to_dict()
        except (KeyError, ValueError, TypeError) as error:
            raise Problem(
                422, "thresholds_invalid", "임계값이 올바르지 않습니다.", f"These are no thresholds: {error}",
            ) from error  # fmt: skip
    model = ensure(session, version)
    if live and not model.live:
        former = list(session.scalars(select(Model.version).where(Model.live)))
        session.execute(update(Model).where(Model.live).values(live=False))
        feed.touch(session, "model", former, [EVERY_BRANCH])
        model.live = True
    if thresholds is not None:
        model.thresholds = thresholds
    session.flush()
    feed.touch(session, "model", [version], [EVERY_BRANCH])
    audit.record(session, who.id, "model.publish", version, {"live": model.live})
    return model


def listed(session: Session) -> list[Model]:
    """All models, newest first."""
    return list(session.scalars(select(Model).order_by(Model.created_at.desc())))
