"""This domain's copy of branches, by event, and the daily limits that operators set for single ones."""

from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.events import PermanentFailure
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.helper.models import Branch


def get(session: Session, branch_id: str) -> Branch:
    """The branch. Raises 404 where we have not heard of one."""
    branch = session.get(Branch, branch_id)
    if branch is None:
        raise Problem(404, "branch_not_found", "없는 지점입니다.", "There is no such branch.")
    return branch


def apply(session: Session, branch_id: str, version: int, name: str, timezone: str, status: str) -> None:
    """Take over what the branch domain says at `version`; older news is passed over.

    Raises:
        PermanentFailure: no such time zone.
    """
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise PermanentFailure(f"branch {branch_id}: no time zone {timezone!r}") from error
    values = {"name": name, "timezone": timezone, "status": status, "version": version}
    statement = insert(Branch).values(branch_id=branch_id, limits_version=0, **values)
    session.execute(
        statement.on_conflict_do_update(index_elements=["branch_id"], set_=values, where=Branch.version < version)
    )


def set_limits(
    session: Session, who: Principal, branch_id: str, per_helper: int | None, in_all: int | None, if_match: str | None
) -> Branch:
    """Set a branch's own daily limits; None: the chain's.

    Raises:
        Problem: 404; 412 changed since.
    """
    query = select(Branch).where(Branch.branch_id == branch_id).with_for_update()
    branch = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if branch is None:
        raise Problem(404, "branch_not_found", "없는 지점입니다.", "There is no such branch.")
    check_match(if_match, branch.limits_version)
    branch.helper_daily_limit, branch.branch_daily_limit = per_helper, in_all
    branch.limits_version += 1
    audit.record(session, who.id, "limits.set", branch_id, {"per_helper": per_helper, "in_all": in_all})
    return branch
