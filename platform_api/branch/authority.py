"""Who may do what to which branch, in one place; every service function asks here before it reads or writes.

A manager is who the token names as one of the branch's managers, or whom an operator has entered here since it was issued.
"""

from platform_api.branch.models import Branch
from platform_api.core.errors import Problem
from platform_api.core.security import Principal


def manages(who: Principal, branch: Branch) -> bool:
    """Whether the caller runs the branch."""
    return who.manages(branch.branch_id) or ("branch_manager" in who.roles and who.id in branch.manager_ids)


def must_manage(who: Principal, branch: Branch) -> None:
    """Raise 403 unless the caller runs the branch (whose description everybody may see)."""
    if not manages(who, branch):
        raise Problem(
            403, "not_your_branch", "담당하는 지점이 아닙니다.", "You may do this for branches you manage only."
        )


def not_found() -> Problem:
    """What is answered for an object of a branch that is missing, or is not the caller's to see."""
    return Problem(404)
