"""The registry of equipment: who stands where, how it is asked, by which key its heartbeats are known.

Keys are Ed25519, not HMAC: the platform keeps only the public half, so a copy of the database can forge no heartbeat,
and nothing at rest needs sealing. A key made here is shown once; better still, the item makes its own and hands in the
public half. A line in ten minutes costs a small controller nothing.
"""

import base64
import secrets
from datetime import timedelta
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.monitoring import recording
from platform_api.monitoring.addresses import BadAddress, check
from platform_api.monitoring.authority import must_manage, no_equipment, visible
from platform_api.monitoring.models import Branch, Equipment, EquipmentState, StateChange, shard_of
from platform_api.monitoring.settings import settings
from platform_api.monitoring.states import Answering

Shown = tuple[Equipment, EquipmentState]


def register(session: Session, who: Principal, fields: dict[str, Any]) -> Shown:
    """Take an item into the registry.

    Raises:
        Problem: 403; 404 no such branch; 409 `equipment_exists`; 422 for the echo URL.
    """
    must_manage(who, fields["branch_id"])
    # The branch row is locked: of two that register one name at once, the second sees the first.
    if session.get(Branch, fields["branch_id"], with_for_update=True) is None:
        raise Problem(
            404, "branch_unknown", "없는 지점입니다. 새 지점이면 잠시 후 다시 시도하세요.",
            "There is no such branch; if it was made just now, try again in a moment.",
        )  # fmt: skip
    _refuse_taken_name(session, fields["branch_id"], fields["name"])
    _refuse_bad_url(fields.get("echo_url"))
    equipment_id, now = new_id(), clock.now()
    equipment = Equipment(
        equipment_id=equipment_id, shard=shard_of(equipment_id), created_at=now, updated_at=now, **fields
    )
    state = EquipmentState(equipment_id=equipment_id, shard=equipment.shard, since=now)
    session.add(equipment)
    session.flush()
    session.add(state)
    session.flush()
    shown = {name: fields[name] for name in ("branch_id", "name", "kind", "echo_url")}
    audit.record(session, who.id, "equipment.register", equipment_id, shown)
    return equipment, state


def change(session: Session, who: Principal, equipment_id: str, fields: dict[str, Any], if_match: str | None) -> Shown:
    """Change some fields of an item.

    Raises:
        Problem: 404; 409 `equipment_exists`; 412; 422; 428 without If-Match.
    """
    equipment, state = get(session, who, equipment_id, lock=True)
    _refuse_retired(equipment)
    check_match(if_match, equipment.version, required=True)
    if fields.get("name", equipment.name) != equipment.name:
        session.get(Branch, equipment.branch_id, with_for_update=True)
        _refuse_taken_name(session, equipment.branch_id, fields["name"])
    _refuse_bad_url(fields.get("echo_url"))
    for name, value in fields.items():
        setattr(equipment, name, value)
    _touch(equipment)
    if equipment.echo_url is None:
        # Nobody will ask it any more, so nobody would find that it answers again.
        session.flush()
        recording.observe(session, [(equipment_id, Answering())], clock.now(), settings().probation)
    if "heartbeat_interval_s" in fields and state.heartbeat_due_at is not None:
        _expect_heartbeat(equipment, state)
    audit.record(session, who.id, "equipment.change", equipment_id, {"fields": sorted(fields)})
    session.flush()
    return equipment, state


def issue_key(
    session: Session, who: Principal, equipment_id: str, public_key: bytes | None
) -> tuple[Equipment, str | None]:
    """Give an item a new key, in place of the one it had. From now on its heartbeats are expected.

    Args:
        public_key: of a pair that the item made itself; None: a pair is made here.

    Returns:
        The item, and the private half in base64 where the pair was made here. It is not kept.

    Raises:
        Problem: 404; 409 `equipment_retired`; 422 `public_key_invalid`.
    """
    equipment, state = get(session, who, equipment_id, lock=True)
    _refuse_retired(equipment)
    private = None
    if public_key is None:
        made = Ed25519PrivateKey.generate()
        public_key, private = made.public_key().public_bytes_raw(), base64.b64encode(made.private_bytes_raw()).decode()
    try:
        Ed25519PublicKey.from_public_bytes(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Problem(
            422, "public_key_invalid", "Ed25519 공개키(32바이트, base64)가 아닙니다.",
            "Expected base64 of a raw Ed25519 public key.",
        ) from error  # fmt: skip
    equipment.public_key, equipment.key_id = public_key, secrets.token_hex(8)
    state.last_sequence = -1
    _expect_heartbeat(equipment, state)
    _touch(equipment)
    audit.record(session, who.id, "equipment.issue_key", equipment_id, {"key_id": equipment.key_id})
    session.flush()
    return equipment, private


def retire(session: Session, who: Principal, equipment_id: str) -> Shown:
    """Take an item out of service for good: it is asked no more, its open faults end, its history stays."""
    equipment, state = get(session, who, equipment_id, lock=True)
    if equipment.retired_at is not None:
        return equipment, state
    now = clock.now()
    item = recording.lock(session, [equipment_id])[equipment_id]
    for group in list(item.open_faults):
        recording.close(session, item, group, "retired", now)
    equipment.retired_at = now
    state.causes, state.suspect_since, state.heartbeat_due_at, state.maintenance = {}, None, None, False
    _touch(equipment)
    audit.record(session, who.id, "equipment.retire", equipment_id)
    session.flush()
    return equipment, state


def get(session: Session, who: Principal, equipment_id: str, lock: bool = False) -> Shown:
    """An item of a branch that the caller manages, and its state. Raises 404 otherwise."""
    equipment = session.get(Equipment, equipment_id, with_for_update=lock or None)
    if equipment is None or not who.manages(equipment.branch_id):
        raise no_equipment()
    return equipment, session.get_one(EquipmentState, equipment_id, with_for_update=lock or None)


def listed(session: Session, who: Principal, query: dict[str, Any]) -> tuple[list[Shown], str | None]:
    """A page of items of the branches that the caller manages, oldest first."""
    wanted = select(Equipment).where(visible(who, query["branch_id"], Equipment.branch_id))
    if not query["retired"]:
        wanted = wanted.where(Equipment.retired_at.is_(None))
    if query["kind"]:
        wanted = wanted.where(Equipment.kind == query["kind"])
    if query["state"]:
        wanted = wanted.join(EquipmentState, EquipmentState.equipment_id == Equipment.equipment_id)
        wanted = wanted.where(EquipmentState.state == query["state"])
    rows, cursor = page(session, wanted, [Equipment.equipment_id], query["cursor"], query["limit"], descending=False)
    ids = [row.equipment_id for row in rows]
    found = session.scalars(select(EquipmentState).where(EquipmentState.equipment_id.in_(ids)))
    states = {state.equipment_id: state for state in found}
    return [(row, states[row.equipment_id]) for row in rows], cursor


def history(
    session: Session, who: Principal, equipment_id: str, query: dict[str, Any]
) -> tuple[list[StateChange], str | None]:
    """A page of an item's state changes, newest first."""
    get(session, who, equipment_id)
    wanted = select(StateChange).where(StateChange.equipment_id == equipment_id)
    return page(session, wanted, [StateChange.position], query["cursor"], query["limit"])


def _expect_heartbeat(equipment: Equipment, state: EquipmentState) -> None:
    last = state.last_heartbeat_at or clock.now()
    state.heartbeat_due_at = last + timedelta(seconds=equipment.heartbeat_interval_s) + settings().grace


def _touch(equipment: Equipment) -> None:
    equipment.version += 1
    equipment.updated_at = clock.now()


def _refuse_retired(equipment: Equipment) -> None:
    if equipment.retired_at is not None:
        raise Problem(
            409, "equipment_retired", "폐기된 장비입니다. 새로 등록하세요.", "This item was retired; register it anew."
        )


def _refuse_taken_name(session: Session, branch_id: str, name: str) -> None:
    taken = select(Equipment.equipment_id).where(
        Equipment.branch_id == branch_id, Equipment.name == name, Equipment.retired_at.is_(None)
    )
    if (equipment_id := session.scalar(taken)) is not None:
        raise Problem(
            409, "equipment_exists", "같은 이름의 장비가 있습니다.", "The branch has equipment of that name.",
            equipment_id=equipment_id,
        )  # fmt: skip


def _refuse_bad_url(url: str | None) -> None:
    if url is None:
        return
    try:
        check(url, settings().networks)
    except BadAddress as error:
        if error.code == "address_not_allowed":
            raise Problem(
                422, error.code, "허용된 장비망(SMARTFIT_ECHO_NETWORKS)의 주소가 아닙니다.",
                "The address is not in a network of equipment (SMARTFIT_ECHO_NETWORKS).",
            ) from error  # fmt: skip
        raise Problem(
            422, error.code, "echo_url은 사용자 정보와 #조각이 없는 https 주소여야 합니다.",
            "echo_url must be an https URL without user or fragment.",
        ) from error  # fmt: skip
