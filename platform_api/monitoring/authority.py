"""Who may see and change what: operators everything, a branch manager the equipment of their own branches.

An object of another's branch answers 404, as if it were not there.
"""

from typing import Any

from sqlalchemy import ColumnElement, true

from platform_api.core.errors import Problem
from platform_api.core.security import Principal

STAFF = ("operator", "branch_manager")


def visible(who: Principal, branch_id: str | None, column: Any) -> ColumnElement[bool]:
    """The condition under which the caller sees rows of `column`, a branch id; of one branch where it is given."""
    condition: ColumnElement[bool] = true() if who.is_operator else column.in_(sorted(who.branch_ids))
    return condition if branch_id is None else condition & (column == branch_id)


def must_manage(who: Principal, branch_id: str) -> None:
    """Raise 403 unless the caller runs the branch."""
    if not who.manages(branch_id):
        raise Problem(
            403, "not_your_branch", "담당하는 지점이 아닙니다.", "You may do this for branches you manage only."
        )


def no_equipment() -> Problem:
    """What is answered for equipment that is missing or another's."""
    return Problem(404, "not_found", "없는 장비입니다.", "There is no such equipment.")
