"""What an edge may know, as the change feed carries it: loaded in bulk, by kind, for one edge of one branch.

An edge gets the members, memberships and templates of those who hold a membership that covers its branch, its own gates,
its branch, and what concerns all edges (models, thresholds, public keys of QR passes).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from platform_api.access import gallery, occupancy
from platform_api.access.models import EVERY_BRANCH, Branch, Gate, Membership, Model, QrKey
from platform_api.access.settings import settings
from platform_api.core import clock

State = dict[str, dict[str, Any]]

_MEMBERS = text("""
    SELECT m.member_id, m.status FROM member m
    WHERE m.member_id = ANY(:keys) AND m.erased_at IS NULL AND EXISTS (
        SELECT FROM membership s WHERE s.member_id = m.member_id AND NOT s.lapsed AND s.branch_ids && CAST(:audience AS text[]))
""")


def visible(session: Session, kind: str, keys: Sequence[str], edge_id: str, branch_id: str) -> State:
    """The present state of those of `keys` that are there for this edge, by key."""
    return _LOADERS[kind](session, list(keys), edge_id, branch_id)


def _branches(session: Session, keys: list[str], _: str, branch_id: str) -> State:
    branch = session.get(Branch, branch_id) if branch_id in keys else None
    if branch is None:
        return {}
    fields = ("branch_id", "name", "timezone", "hours", "capacity", "mode")
    return {branch_id: {field: getattr(branch, field) for field in fields}}


def _occupancy(session: Session, keys: list[str], _: str, branch_id: str) -> State:
    if branch_id not in keys:
        return {}
    now, stay = clock.now(), timedelta(hours=settings().presence_max_hours)
    inside = occupancy.inside(session, branch_id, now, stay)
    return {branch_id: {"branch_id": branch_id, "inside": inside, "as_of": now.isoformat()}}


def _gates(session: Session, keys: list[str], edge_id: str, _: str) -> State:
    query = select(Gate).where(Gate.gate_id.in_(keys), Gate.edge_id == edge_id, Gate.removed_at.is_(None))
    fields = (
        "gate_id", "branch_id", "edge_id", "name", "direction", "controller_url", "controller_gate_id", "liveness",
        "anti_passback", "fail_mode", "lockout", "open_seconds", "kiosk_key_sha256",
    )  # fmt: skip
    return {gate.gate_id: {field: getattr(gate, field) for field in fields} for gate in session.scalars(query)}


def _members(session: Session, keys: list[str], _: str, branch_id: str) -> State:
    rows = session.execute(_MEMBERS, {"keys": keys, "audience": [EVERY_BRANCH, branch_id]})
    return {member_id: {"member_id": member_id, "status": status} for member_id, status in rows}


def _memberships(session: Session, keys: list[str], _: str, branch_id: str) -> State:
    query = select(Membership).where(
        Membership.membership_id.in_(keys),
        Membership.lapsed.is_(False),
        Membership.branch_ids.overlap([EVERY_BRANCH, branch_id]),
    )
    return {
        row.membership_id: {
            "membership_id": row.membership_id,
            "member_id": row.member_id,
            "valid_from": row.valid_from.isoformat(),
            "valid_until": row.valid_until.isoformat() if row.valid_until else None,
            "branch_ids": [branch for branch in row.branch_ids if branch in (EVERY_BRANCH, branch_id)],
            "hours": row.hours,
            "freezes": row.freezes,
            "blocked": row.blocked,
        }
        for row in session.scalars(query)
    }


def _templates(session: Session, keys: list[str], _: str, branch_id: str) -> State:
    return {
        template.template_id: {
            "template_id": template.template_id,
            "member_id": template.member_id,
            "model_version": template.model_version,
            "rows": len(template.vectors),
            "vectors": base64.b64encode(template.vectors.astype("<f4").tobytes()).decode(),
        }
        for template in gallery.templates(session, keys, [EVERY_BRANCH, branch_id])
    }


def _models(session: Session, keys: list[str], edge_id: str, _: str) -> State:
    """What each model is to this edge: a canary is live where it serves, and a candidate everywhere else."""
    rows = session.scalars(select(Model).where(Model.version.in_(keys), Model.stage != "retired"))
    canary = session.scalar(
        select(Model.version)
        .where(Model.stage == "canary", Model.place == edge_id)
        .order_by(Model.heard.desc())
        .limit(1)
    )
    return {row.version: _model(row, canary) for row in rows}


def _model(row: Model, canary: str | None) -> dict[str, Any]:
    stage = row.stage
    if stage == "canary" and row.version != canary:
        stage = "candidate"
    elif stage == "live" and canary is not None:
        stage = "former"
    return {
        "version": row.version,
        "live": stage in ("live", "canary"),
        "stage": stage,
        "thresholds": row.thresholds,
        "archive": {"sha256": row.archive_sha256, "bytes": row.archive_bytes} if row.archive_key else None,
        "incomplete": row.incomplete,
    }


def _qr_keys(session: Session, keys: list[str], *_: str) -> State:
    rows = session.scalars(select(QrKey).where(QrKey.kid.in_(keys)))
    return {row.kid: {"kid": row.kid, "public_key": base64.b64encode(row.public_key).decode()} for row in rows}


_LOADERS: dict[str, Callable[[Session, list[str], str, str], State]] = {
    "branch": _branches,
    "occupancy": _occupancy,
    "gate": _gates,
    "member": _members,
    "membership": _memberships,
    "template": _templates,
    "model": _models,
    "qr_key": _qr_keys,
}
