"""Branches, as far as the gates need them, and their mode: normal, lockdown, emergency open.

The branch domain owns the description and tells it by event (`apply`); a branch it has not told of is described here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.access import feed, occupancy
from platform_api.access.authority import must_manage, not_found
from platform_api.access.models import Branch
from platform_api.access.rules import RuleError, check_week, zone
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


def get(session: Session, branch_id: str, lock: bool = False) -> Branch:
    """The branch. Raises 404 where there is none."""
    branch = session.get(Branch, branch_id, with_for_update=lock or None)
    if branch is None:
        raise not_found("없는 지점입니다.", "There is no such branch.")
    return branch


def listed(session: Session) -> list[Branch]:
    """All branches, by name."""
    return list(session.scalars(select(Branch).order_by(Branch.name, Branch.branch_id)))


def put(
    session: Session, who: Principal, branch_id: str, fields: dict[str, Any], if_match: str | None
) -> tuple[Branch, bool]:
    """Describe a branch, new or known. Returns it and whether it is new.

    Raises:
        Problem: 403 not the caller's branch; 412 changed since; 422 hours or time zone wrong.
    """
    must_manage(who, branch_id)
    if not _ID.fullmatch(branch_id):
        raise Problem(422, "branch_id_invalid", "지점 ID는 영문, 숫자, . _ - 로 64자까지입니다.", "Not a branch id.")
    refuse_broken_rules(fields)
    branch = session.get(Branch, branch_id, with_for_update=True)
    created = branch is None
    if branch is None:
        branch = Branch(branch_id=branch_id, version=0, source_version=0, mode="normal", **fields)
        session.add(branch)
    else:
        check_match(if_match, branch.version)
        for name, value in fields.items():
            setattr(branch, name, value)
    branch.version += 1
    session.flush()
    feed.touch(session, "branch", [branch_id], [branch_id])
    audit.record(session, who.id, "branch.create" if created else "branch.change", branch_id, {"name": branch.name})
    return branch, created


def apply(session: Session, branch_id: str, version: int, fields: dict[str, Any], status: str) -> None:
    """Take over what the branch domain says at `version`; older news is passed over.

    A branch that is not open (closed, in preparation) has no hours at all, so that its gates let no member in; mode and
    emergencies are ours and stay.
    """
    new = insert(Branch).values(branch_id=branch_id, version=0, source_version=0, **fields)
    session.execute(new.on_conflict_do_nothing())
    query = select(Branch).where(Branch.branch_id == branch_id).with_for_update()
    branch = session.scalars(query.execution_options(populate_existing=True)).one()
    if version <= branch.source_version:
        return
    for name, value in {**fields, "hours": fields["hours"] if status == "open" else {}}.items():
        setattr(branch, name, value)
    branch.source_version, branch.version = version, branch.version + 1
    session.flush()
    feed.touch(session, "branch", [branch_id], [branch_id])


def refuse_broken_rules(fields: dict[str, Any]) -> None:
    """Raise 422 where a time zone or hours among `fields` are none."""
    try:
        if fields.get("timezone") is not None:
            zone(fields["timezone"])
        check_week(fields.get("hours"))
    except RuleError as error:
        raise as_problem(error) from error


def as_problem(error: RuleError, status: int = 422) -> Problem:
    """The problem document of a broken rule."""
    return Problem(status, error.code, error.ko, error.en)


def set_mode(session: Session, who: Principal, branch_id: str, mode: str, reason: str) -> Branch:
    """Lock a branch down, open it in an emergency, or return it to normal. Beats every rule at its gates."""
    must_manage(who, branch_id)
    branch = get(session, branch_id, lock=True)
    before = branch.mode
    branch.mode, branch.mode_reason, branch.mode_since = mode, reason, clock.now()
    branch.version += 1
    feed.touch(session, "branch", [branch_id], [branch_id])
    audit.record(session, who.id, "branch.mode", branch_id, {"from": before, "to": mode, "reason": reason})
    return branch


def live_occupancy(session: Session, branch_id: str) -> dict[str, Any]:
    """How many are in the branch now, and whether there is room."""
    branch = get(session, branch_id)
    now = clock.now()
    inside = occupancy.inside(session, branch_id, now, timedelta(hours=settings().presence_max_hours))
    return {
        "branch_id": branch_id,
        "inside": inside,
        "capacity": branch.capacity,
        "full": branch.capacity is not None and inside >= branch.capacity,
        "as_of": now,
    }
