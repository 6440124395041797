"""Branches: described by their managers, read by everybody, announced to the other domains with every change."""

from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from platform_api.branch.authority import must_manage
from platform_api.branch.models import Branch
from platform_api.branch.rules import check_prices, check_week, check_zone
from platform_api.core.errors import Problem
from platform_api.core.events import publish
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit

_TOLD = (
    "branch_id", "name", "name_en", "description", "description_en", "address", "region", "latitude", "longitude",
    "timezone", "hours", "amenities", "prices", "capacity", "status", "manager_ids", "phone",
)  # fmt: skip


def get(session: Session, branch_id: str, lock: bool = False) -> Branch:
    """The branch. Raises 404 where there is none."""
    query = select(Branch).where(Branch.branch_id == branch_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    branch = session.scalars(query).one_or_none()
    if branch is None:
        raise Problem(404, "branch_not_found", "없는 지점입니다.", "There is no such branch.")
    return branch


def listed(
    session: Session, *, region: str | None, status: str | None, amenity: str | None, cursor: str | None, limit: int
) -> tuple[list[Branch], str | None]:
    """Branches, by name."""
    query = select(Branch)
    if region is not None:
        query = query.where(Branch.region == region)
    if status is not None:
        query = query.where(Branch.status == status)
    if amenity is not None:
        query = query.where(Branch.amenities.contains([amenity]))
    return page(session, query, [Branch.name, Branch.branch_id], cursor, limit, descending=False)


def of_manager(session: Session, who: Principal) -> list[Branch]:
    """The branches the caller runs, by name."""
    if not who.branch_ids and "branch_manager" not in who.roles:
        return []
    mine = or_(Branch.branch_id.in_(who.branch_ids), Branch.manager_ids.contains([who.id]))
    return list(session.scalars(select(Branch).where(mine).order_by(Branch.name, Branch.branch_id)))


def create(session: Session, who: Principal, fields: dict[str, Any]) -> Branch:
    """Open the books of a branch (operators).

    Raises:
        Problem: 409 `branch_exists`; 422 hours, time zone or prices wrong.
    """
    branch_id = fields.pop("branch_id") or new_id()
    _check(fields)
    if session.get(Branch, branch_id) is not None:
        raise Problem(409, "branch_exists", "이미 있는 지점 ID입니다.", "There is a branch of that id already.")
    fields["manager_ids"] = sorted(set(fields["manager_ids"]))
    branch = Branch(branch_id=branch_id, **fields)
    session.add(branch)
    session.flush()
    session.refresh(branch, ["photos"])
    audit.record(session, who.id, "branch.create", branch_id, {"name": branch.name})
    _announce(session, "branch.BranchInfoCreated", branch)
    return branch


def change(session: Session, who: Principal, branch_id: str, fields: dict[str, Any], if_match: str | None) -> Branch:
    """Change some fields; what stays as it was is no change.

    Raises:
        Problem: 403 not the caller's; 404; 412 changed since; 428 without If-Match; 422 as `create`.
    """
    branch = get(session, branch_id, lock=True)
    must_manage(who, branch)
    check_match(if_match, branch.version, required=True)
    _check(fields)
    changed = sorted(name for name, value in fields.items() if getattr(branch, name) != value)
    for name in changed:
        setattr(branch, name, fields[name])
    if changed:
        touch(session, who.id, branch, "branch.change", {"fields": changed})
    return branch


def set_managers(
    session: Session, who: Principal, branch_id: str, manager_ids: list[str], if_match: str | None
) -> Branch:
    """Say who runs a branch (operators).

    Raises:
        Problem: 404; 412 changed since.
    """
    branch = get(session, branch_id, lock=True)
    check_match(if_match, branch.version)
    wanted = sorted(set(manager_ids))
    if branch.manager_ids != wanted:
        branch.manager_ids = wanted
        touch(session, who.id, branch, "branch.managers", {"manager_ids": wanted})
    return branch


def touch(session: Session, actor: str, branch: Branch, action: str, details: dict[str, Any]) -> None:
    """Count the branch's version up, note who changed what, and tell the other domains."""
    branch.version += 1
    session.flush()
    audit.record(session, actor, action, branch.branch_id, {**details, "version": branch.version})
    _announce(session, "branch.BranchInfoChanged", branch)


def _check(fields: dict[str, Any]) -> None:
    if "timezone" in fields:
        check_zone(fields["timezone"])
    check_week(fields.get("hours"))
    check_prices(fields.get("prices", []))


def _announce(session: Session, type: str, branch: Branch) -> None:
    data = {name: getattr(branch, name) for name in _TOLD}
    publish(session, type, subject=branch.branch_id, version=branch.version, data=data)
