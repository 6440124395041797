"""Edge nodes and their gates.

A node registers with the public half of a key it made itself and can be revoked. A gate's kiosk proves itself by a key
that is shown once, when it is made; only its SHA-256 is kept (256 random bits need no slow hash).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from platform_api.access import branches, feed
from platform_api.access.authority import managed, must_manage, not_found
from platform_api.access.models import Edge, Gate
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit


def register_edge(session: Session, who: Principal, branch_id: str, name: str, public_key: bytes) -> Edge:
    """Make a node known by its Ed25519 public key (32 raw bytes).

    Raises:
        Problem: 403; 404 no such branch; 409 `edge_exists`; 422 `public_key_invalid`.
    """
    must_manage(who, branch_id)
    branches.get(session, branch_id)
    try:
        Ed25519PublicKey.from_public_bytes(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Problem(
            422, "public_key_invalid", "Ed25519 공개키(32바이트, base64)가 아닙니다.", "Expected base64 of a raw Ed25519 public key.",
        ) from error  # fmt: skip
    if session.scalar(select(Edge.edge_id).where(Edge.public_key == public_key)):
        raise Problem(409, "edge_exists", "이미 등록된 키입니다.", "A node with this key is registered already.")
    edge = Edge(branch_id=branch_id, name=name, public_key=public_key)
    session.add(edge)
    session.flush()
    audit.record(session, who.id, "edge.register", edge.edge_id, {"branch_id": branch_id, "name": name})
    return edge


def revoke_edge(session: Session, who: Principal, edge_id: str) -> Edge:
    """Let a node speak for its gates no more (lost, stolen, replaced)."""
    edge = _edge(session, who, edge_id)
    if edge.revoked_at is None:
        edge.revoked_at = clock.now()
        audit.record(session, who.id, "edge.revoke", edge_id, {"branch_id": edge.branch_id})
    return edge


def create_gate(session: Session, who: Principal, fields: dict[str, Any]) -> tuple[Gate, str]:
    """Make a gate. Returns it and the kiosk's key, which is not kept.

    Raises:
        Problem: 403; 404 no such branch; 409 `gate_exists`; 422 `edge_unfit`.
    """
    branch_id = fields["branch_id"]
    must_manage(who, branch_id)
    branches.get(session, branch_id, lock=True)
    _refuse_unfit_edge(session, fields["edge_id"], branch_id)
    _refuse_taken_name(session, branch_id, fields["name"])
    key = secrets.token_urlsafe(32)
    gate = Gate(kiosk_key_sha256=_digest(key), former_edge_ids=[], **fields)
    session.add(gate)
    session.flush()
    feed.touch(session, "gate", [gate.gate_id], [branch_id])
    audit.record(session, who.id, "gate.create", gate.gate_id, {"branch_id": branch_id, "name": gate.name})
    return gate, key


def change_gate(session: Session, who: Principal, gate_id: str, fields: dict[str, Any], if_match: str | None) -> Gate:
    """Change some fields of a gate; moving it to another node of the branch keeps what the former node has yet to report.

    Raises:
        Problem: 404; 409 `gate_exists`; 412; 422 `edge_unfit`.
    """
    gate = get_gate(session, who, gate_id, lock=True)
    check_match(if_match, gate.version)
    if fields.get("name", gate.name) != gate.name:
        _refuse_taken_name(session, gate.branch_id, fields["name"])
    if fields.get("edge_id", gate.edge_id) != gate.edge_id:
        _refuse_unfit_edge(session, fields["edge_id"], gate.branch_id)
        gate.former_edge_ids = [*gate.former_edge_ids, gate.edge_id]
    for name, value in fields.items():
        setattr(gate, name, value)
    return _changed(session, who, gate, "gate.change", {"fields": sorted(fields)})


def renew_kiosk_key(session: Session, who: Principal, gate_id: str) -> tuple[Gate, str]:
    """A new key for the gate's kiosk; the old one ends when the node hears of it."""
    gate = get_gate(session, who, gate_id, lock=True)
    key = secrets.token_urlsafe(32)
    gate.kiosk_key_sha256 = _digest(key)
    return _changed(session, who, gate, "gate.renew_kiosk_key", {}), key


def remove_gate(session: Session, who: Principal, gate_id: str) -> None:
    """Take a gate out of service; its entries stay."""
    gate = get_gate(session, who, gate_id, lock=True)
    gate.removed_at = clock.now()
    _changed(session, who, gate, "gate.remove", {})


def get_gate(session: Session, who: Principal, gate_id: str, lock: bool = False) -> Gate:
    """A gate in service of a branch that the caller manages. Raises 404 otherwise."""
    gate = session.get(Gate, gate_id, with_for_update=lock or None)
    if gate is None or gate.removed_at is not None or not who.manages(gate.branch_id):
        raise not_found("없는 게이트입니다.", "There is no such gate.")
    return gate


def edges(session: Session, who: Principal, branch_id: str | None) -> list[Edge]:
    """Nodes of the branches that the caller manages."""
    query = select(Edge).where(_mine(who, branch_id, Edge.branch_id)).order_by(Edge.edge_id)
    return list(session.scalars(query))


def gates(session: Session, who: Principal, branch_id: str | None) -> list[Gate]:
    """Gates in service of the branches that the caller manages."""
    mine = _mine(who, branch_id, Gate.branch_id)
    return list(session.scalars(select(Gate).where(mine, Gate.removed_at.is_(None)).order_by(Gate.gate_id)))


def _mine(who: Principal, branch_id: str | None, column: Any) -> ColumnElement[bool]:
    allowed = managed(who)
    condition: ColumnElement[bool] = true() if allowed is None else column.in_(allowed)
    return condition if branch_id is None else condition & (column == branch_id)


def _edge(session: Session, who: Principal, edge_id: str) -> Edge:
    edge = session.get(Edge, edge_id, with_for_update=True)
    if edge is None or not who.manages(edge.branch_id):
        raise not_found("없는 장치입니다.", "There is no such node.")
    return edge


def _refuse_unfit_edge(session: Session, edge_id: str, branch_id: str) -> None:
    edge = session.get(Edge, edge_id)
    if edge is None or edge.branch_id != branch_id or edge.revoked_at is not None:
        raise Problem(
            422, "edge_unfit", "이 지점에 등록된 장치가 아닙니다.", "edge_id must name a node of this branch that is not revoked.",
        )  # fmt: skip


def _refuse_taken_name(session: Session, branch_id: str, name: str) -> None:
    taken = select(Gate.gate_id).where(Gate.branch_id == branch_id, Gate.name == name, Gate.removed_at.is_(None))
    if (gate_id := session.scalar(taken)) is not None:
        raise Problem(
            409, "gate_exists", "같은 이름의 게이트가 있습니다.", "The branch has a gate of that name; renew its kiosk key if it was lost.",
            gate_id=gate_id,
        )  # fmt: skip


def _changed(session: Session, who: Principal, gate: Gate, action: str, details: dict[str, Any]) -> Gate:
    gate.version += 1
    session.flush()
    feed.touch(session, "gate", [gate.gate_id], [gate.branch_id], deleted=gate.removed_at is not None)
    audit.record(session, who.id, action, gate.gate_id, {"branch_id": gate.branch_id, **details})
    return gate


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
