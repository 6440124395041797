"""Faults as people see them: what is open, who has seen it, how the fleet of each branch is doing."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import AuditRecord
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.monitoring import announcing, registry
from platform_api.monitoring.authority import visible
from platform_api.monitoring.models import Branch, Equipment, EquipmentState, Fault, ModelChange
from platform_api.monitoring.states import STATES


def listed(session: Session, who: Principal, query: dict[str, Any]) -> tuple[list[Fault], str | None]:
    """A page of faults of the branches that the caller manages, newest first."""
    wanted = select(Fault).where(visible(who, query["branch_id"], Fault.branch_id))
    if query["equipment_id"]:
        wanted = wanted.where(Fault.equipment_id == query["equipment_id"])
    if query["open"] is not None:
        wanted = wanted.where(Fault.closed_at.is_(None) if query["open"] else Fault.closed_at.is_not(None))
    if query["acknowledged"] is not None:
        seen = Fault.acknowledged_at
        wanted = wanted.where(seen.is_not(None) if query["acknowledged"] else seen.is_(None))
    return page(session, wanted, [Fault.fault_id], query["cursor"], query["limit"])


def get(session: Session, who: Principal, fault_id: str) -> Fault:
    """A fault of a branch that the caller manages. Raises 404 otherwise."""
    fault = session.get(Fault, fault_id)
    if fault is None or not who.manages(fault.branch_id):
        raise Problem(404, "not_found", "없는 장애입니다.", "There is no such fault.")
    return fault


def acknowledge(session: Session, who: Principal, fault_id: str, note: str | None) -> Fault:
    """Say that somebody has seen a fault and takes care of it: nobody else is woken. The first who says so stands.

    Raises:
        Problem: 404; 409 `fault_closed`.
    """
    fault = get(session, who, fault_id)
    state = session.get_one(EquipmentState, fault.equipment_id, with_for_update=True)
    session.refresh(fault)
    if fault.acknowledged_at is not None:
        return fault
    if fault.closed_at is not None:
        raise Problem(409, "fault_closed", "이미 끝난 장애입니다.", "This fault is over.")
    fault.acknowledged_at, fault.acknowledged_by, fault.note = clock.now(), who.id, note
    session.flush()
    state.version += 1
    announcing.acknowledged(session, state.version, fault)
    audit.record(session, who.id, "fault.acknowledge", fault_id, {"equipment_id": fault.equipment_id})
    return fault


def overview(session: Session, who: Principal, query: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    """A page of branches: items by state, what is open, what nobody has seen yet."""
    wanted = select(Branch).where(visible(who, query["branch_id"], Branch.branch_id))
    branches, cursor = page(session, wanted, [Branch.branch_id], query["cursor"], query["limit"], descending=False)
    ids = [branch.branch_id for branch in branches]
    states = _by_state(session, ids)
    faults = _open_faults(session, ids)
    shown = []
    for branch in branches:
        by_state = {name: states.get((branch.branch_id, name), 0) for name in STATES}
        open_faults, unseen, critical, oldest = faults.get(branch.branch_id, (0, 0, 0, None))
        shown.append(
            {
                "branch_id": branch.branch_id,
                "name": branch.name,
                "status": branch.status,
                "equipment": sum(by_state.values()),
                "by_state": by_state,
                "open_faults": open_faults,
                "unacknowledged": unseen,
                "critical": critical,
                "oldest_open_since": oldest,
            }
        )
    return shown, cursor


def trail(
    session: Session, who: Principal, equipment_id: str, query: dict[str, Any]
) -> tuple[list[AuditRecord], str | None]:
    """A page of what people did to an item, newest first."""
    registry.get(session, who, equipment_id)
    wanted = select(AuditRecord).where(AuditRecord.target == equipment_id)
    return page(session, wanted, [AuditRecord.position], query["cursor"], query["limit"])


def model_changes(session: Session, query: dict[str, Any]) -> tuple[list[ModelChange], str | None]:
    """A page of changes of models, newest first."""
    wanted = select(ModelChange)
    if query["model"]:
        wanted = wanted.where(ModelChange.model == query["model"])
    return page(session, wanted, [ModelChange.at, ModelChange.event_id], query["cursor"], query["limit"])


def _by_state(session: Session, branch_ids: list[str]) -> dict[tuple[str, str], int]:
    rows = session.execute(
        select(Equipment.branch_id, EquipmentState.state, func.count())
        .join(EquipmentState, EquipmentState.equipment_id == Equipment.equipment_id)
        .where(Equipment.branch_id.in_(branch_ids), Equipment.retired_at.is_(None))
        .group_by(Equipment.branch_id, EquipmentState.state)
    )
    return {(branch_id, state): count for branch_id, state, count in rows}


def _open_faults(session: Session, branch_ids: list[str]) -> dict[str, tuple[int, int, int, datetime | None]]:
    rows = session.execute(
        select(
            Fault.branch_id,
            func.count(),
            func.count().filter(Fault.acknowledged_at.is_(None)),
            func.count().filter(Fault.severity == "critical"),
            func.min(Fault.since),
        )
        .where(Fault.branch_id.in_(branch_ids), Fault.closed_at.is_(None))
        .group_by(Fault.branch_id)
    )
    return {branch_id: (opened, unseen, critical, oldest) for branch_id, opened, unseen, critical, oldest in rows}
