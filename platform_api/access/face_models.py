"""Which face models the edges may run, which one is live, and with which thresholds; told to all edges by the feed.

What is heard of mlops may come late, twice or out of order. Its events on a model are numbered, so each row keeps the
number of the newest that spoke of its stage, and the newest that made a version live decides which one that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from ml_bentos.face.thresholds import Thresholds
from platform_api.access import feed, gallery
from platform_api.access.models import EVERY_BRANCH, Edge, Entry, Gate, Model
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.security import Principal, audit

log = structlog.get_logger(__name__)

_ONE_AT_A_TIME = 0x30DE15
# Entries of this time say which branch is the busiest.
BUSY = timedelta(days=30)
# A gallery that nobody has staged for so long belongs to a model that came to nothing.
NEVER_STAGED = timedelta(days=7)
DROPPED_AT_ONCE = 5000


def ensure(session: Session, version: str) -> Model:
    """The model of that version. A new one comes with the thresholds measured for it; the very first becomes live."""
    known = session.get(Model, version)
    if known is not None:
        return known
    return _new(session, version, live=not session.scalar(select(func.count()).where(Model.stage == "live")))


def stage(session: Session, said: Mapping[str, Any], heard: int) -> None:
    """Take in what mlops.ModelStaged says; `heard` is the event's version."""
    _lock(session)
    live = said["live_version"]
    if live is not None and heard > _live_heard(session):
        _make_live(session, live, heard, keep_former=True)
    model = session.get(Model, said["version"]) or _new(session, said["version"], live=False)
    if model.archive_key is None or heard > model.heard:
        archive = said["archive"] or {}
        model.archive_key = archive.get("object_key")
        model.archive_sha256, model.archive_bytes = archive.get("sha256"), archive.get("bytes")
        model.thresholds = _valid(model.version, said["thresholds"]) or model.thresholds
    if heard > model.heard:
        model.heard = heard
        if not model.live:
            model.stage = "retired" if said["stage"] == "withdrawn" else said["stage"]
            model.place = _place(session, said["place"]) if model.stage == "canary" else None
            model.incomplete = False
    session.flush()
    _tell(session, [model.version])
    audit.record(session, "system", "model.stage", model.version, {"stage": model.stage, "place": model.place})


def make_live(session: Session, version: str, heard: int, rolled_back: bool) -> None:
    """Take in mlops.ModelDeployed or ModelRolledBack; after a way back the ways farther back stay open."""
    _lock(session)
    if heard <= _live_heard(session):
        return
    retired = _make_live(session, version, heard, keep_former=rolled_back)
    _tell(session, retired)
    audit.record(session, "system", "model.live", version, {"rolled_back": rolled_back})


def publish(
    session: Session,
    who: Principal,
    version: str,
    live: bool,
    thresholds: dict[str, Any] | None,
    incomplete: bool = False,
) -> Model:
    """Make a model known to the edges by hand, or live in place of the one before.

    Args:
        incomplete: edges may take it though members of the present gallery are missing in its own.

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
    _lock(session)
    model = ensure(session, version)
    if live and not model.live:
        _make_live(session, version, _live_heard(session), keep_former=True)
    elif model.stage == "retired":
        model.stage = "candidate"
    if thresholds is not None:
        model.thresholds = thresholds
    model.incomplete = incomplete
    session.flush()
    _tell(session, [version])
    audit.record(session, who.id, "model.publish", version, {"live": model.live, "incomplete": incomplete})
    return model


def listed(session: Session) -> list[Model]:
    """All models, newest first."""
    return list(session.scalars(select(Model).order_by(Model.created_at.desc())))


def drop_retired(session: Session) -> int:
    """Delete rows of galleries whose model is neither in use, nor staged, nor kept for a way back. Returns how many."""
    session.execute(
        update(Model)
        .where(Model.stage == "candidate", Model.heard == 0, Model.created_at < clock.now() - NEVER_STAGED)
        .values(stage="retired")
    )
    gone = 0
    for version in list(session.scalars(select(Model.version).where(Model.stage == "retired"))):
        template_ids = gallery.drop(session, version, DROPPED_AT_ONCE)
        # Whoever has seen them hears of it: the row of each in the feed knows who that is.
        feed.touch(session, "template", template_ids, [], deleted=True)
        gone += len(template_ids)
    return gone


def _new(session: Session, version: str, live: bool) -> Model:
    model = gallery.ensure_model(session, version)
    if model.thresholds is None:
        model.thresholds = _packed(version)
    if live:
        model.stage = "live"
    session.flush()
    feed.touch(session, "model", [version], [EVERY_BRANCH])
    return model


def _packed(version: str) -> dict[str, Any] | None:
    """The thresholds of our own copy of the version; None where there is none: the edges go by theirs."""
    try:
        return Thresholds.for_version(version).to_dict()
    except (OSError, RuntimeError, KeyError, ValueError):
        return None


def _valid(version: str, thresholds: dict[str, Any] | None) -> dict[str, Any] | None:
    if thresholds is None:
        return None
    try:
        return Thresholds.from_dict({**thresholds, "model_version": version}).to_dict()
    except (KeyError, ValueError, TypeError):
        log.error("thresholds_malformed", model=version)
        return None


def _make_live(session: Session, version: str, heard: int, keep_former: bool) -> list[str]:
    """Make it live. Returns the versions that are retired by it: those in use before the one before."""
    model = session.get(Model, version) or _new(session, version, live=False)
    retired = []
    if not model.live:
        for other in session.scalars(
            select(Model).where(Model.stage.in_(("live", "former")), Model.version != version)
        ):
            if other.stage == "former" and not keep_former:
                other.stage = "retired"
                retired.append(other.version)
            elif other.stage == "live":
                other.stage = "former"
        session.flush()
        model.stage, model.place = "live", None
    model.live_heard = max(model.live_heard, heard)
    model.heard = max(model.heard, heard)
    session.flush()
    return retired


def _live_heard(session: Session) -> int:
    return session.scalar(select(func.max(Model.live_heard))) or 0


def _place(session: Session, wanted: str | None) -> str | None:
    """The edge at which a canary serves: the one asked for, else the first of the branch with most entries."""
    if wanted is not None:
        edge = session.get(Edge, wanted)
        if edge is not None and edge.revoked_at is None:
            return wanted
        log.error("canary_place_unknown", edge_id=wanted)
    entries = select(func.count()).where(Entry.branch_id == Edge.branch_id, Entry.at > clock.now() - BUSY)
    gates = select(Gate.gate_id).where(Gate.edge_id == Edge.edge_id, Gate.removed_at.is_(None)).exists()
    query = select(Edge.edge_id).where(Edge.revoked_at.is_(None))
    return session.scalar(
        query.order_by(gates.desc(), entries.scalar_subquery().desc(), Edge.edge_id).limit(1)
    )  # fmt: skip


def _tell(session: Session, versions: list[str]) -> None:
    """Tell the edges of all models in use, since what one is to an edge depends on the others, and of these."""
    rows = session.execute(select(Model.version, Model.stage)).all()
    gone = {version for version, stage in rows if stage == "retired"}
    feed.touch(session, "model", sorted({version for version, _ in rows} - gone), [EVERY_BRANCH])
    feed.touch(session, "model", sorted(gone & set(versions)), [EVERY_BRANCH], deleted=True)


def _lock(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
