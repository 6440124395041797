"""Who may speak for a gate: the kiosk that has its key. And who may look inside the node: the local admin."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import current_app, g, request

from access_edge.node import EdgeNode
from access_edge.records import Gate
from platform_api.core.errors import Problem

P = ParamSpec("P")
R = TypeVar("R")
_NOBODY = "0" * 64


def node() -> EdgeNode:
    """The node of the running app."""
    found: EdgeNode = current_app.extensions["edge"]
    return found


def bearer() -> str:
    """The bearer key of the request; empty where there is none."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def kiosk_gate(gate_id: str) -> Gate:
    """The gate, for a request that carries its kiosk's key. Raises Problem as `gate_by_key`."""
    gate = gate_by_key(gate_id, bearer())
    g.principal_id = f"gate:{gate_id}"
    return gate


def gate_by_key(gate_id: str, key: str) -> Gate:
    """The gate whose kiosk has this key.

    Raises:
        Problem: 503 `not_synced` before the node knows its gates; 401 `kiosk_key_wrong` for a wrong key, another
            gate's key, or a gate that is not here: they are not told apart.
    """
    gate = own_gate(gate_id)
    known = gate.kiosk_key_sha256 if gate is not None else _NOBODY
    if not hmac.compare_digest(hashlib.sha256(key.encode()).hexdigest(), known) or gate is None:
        raise refused()
    return gate


def own_gate(gate_id: str) -> Gate | None:
    """The gate where this node has it. Raises Problem 503 `not_synced` before the node knows its gates."""
    edge = node()
    gate = edge.replica.gates.get(gate_id)
    if gate is None and not edge.replica.gates:
        raise Problem(
            503, "not_synced", "게이트 정보를 아직 받지 못했습니다. 잠시 후 다시 시도하세요.",
            "This node has not heard of its gates yet; try again soon.", headers={"Retry-After": "2"},
        )  # fmt: skip
    return gate if gate is not None and gate.edge_id in (None, edge.settings.edge_id) else None


def refused() -> Problem:
    """The answer to whoever does not speak for the gate."""
    return Problem(
        401, "kiosk_key_wrong", "이 게이트의 키가 아닙니다. 관리자에게 키오스크 등록을 요청하세요.",
        "Not this gate's key. Ask a manager to register the kiosk.",
    )  # fmt: skip


def by_admin() -> bool:
    """Whether the request also carries the local admin key, in X-Edge-Admin-Key: for measuring at a gate."""
    return _is_admin_key(request.headers.get("X-Edge-Admin-Key", ""))


def _is_admin_key(given: str) -> bool:
    known = node().settings.edge_admin_key.get_secret_value()
    return hmac.compare_digest(given.encode(), known.encode())


def admin_only(view: Callable[P, R]) -> Callable[P, R]:
    """Decorator: only with the local admin key. Raises Problem 401 `admin_key_wrong`."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _is_admin_key(bearer()):
            raise Problem(401, "admin_key_wrong", "관리 키가 올바르지 않습니다.", "Not the admin key of this node.")
        g.principal_id = "local-admin"
        return view(*args, **kwargs)

    return checked
