"""Faults of equipment in a branch, as the monitoring domain tells them, in whatever order they arrive."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.branch import branches
from platform_api.branch.authority import must_manage
from platform_api.branch.models import Fault
from platform_api.core.pagination import page
from platform_api.core.security import Principal


def apply(session: Session, data: Mapping[str, Any]) -> None:
    """Take in EquipmentFault or EquipmentRecovered."""
    values: dict[str, Any] = {name: data[name] for name in ("equipment_id", "branch_id", "name", "kind")}
    values["since"] = datetime.fromisoformat(data["since"])
    for name in ("reason", "severity"):
        values[name] = data.get(name)
    recovered = data.get("recovered_at")
    values["recovered_at"] = datetime.fromisoformat(recovered) if recovered else None
    statement = insert(Fault).values(fault_id=data["fault_id"], **values)
    new = statement.excluded
    # Either may come first: what one does not say is kept from the other.
    kept = {
        name: func.coalesce(getattr(new, name), getattr(Fault, name)) for name in ("reason", "severity", "recovered_at")
    }
    session.execute(statement.on_conflict_do_update(index_elements=["fault_id"], set_=kept))


def listed(
    session: Session, who: Principal, branch_id: str, *, open_only: bool, cursor: str | None, limit: int
) -> tuple[list[Fault], str | None]:
    """Faults in a branch the caller runs, newest first.

    Raises:
        Problem: 403; 404.
    """
    must_manage(who, branches.get(session, branch_id))
    query = select(Fault).where(Fault.branch_id == branch_id)
    if open_only:
        query = query.where(Fault.recovered_at.is_(None))
    return page(session, query, [Fault.since, Fault.fault_id], cursor, limit)
