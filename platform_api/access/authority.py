"""Who may do what to which object, in one place; every service function asks here before it reads or writes.

An object that somebody may not even see answers 404, as if it were not there; one that they see but may not change, 403.
"""

from __future__ import annotations

from collections.abc import Iterable

from platform_api.access.models import EVERY_BRANCH
from platform_api.core.errors import Problem
from platform_api.core.security import Principal


def not_found(ko: str = "찾을 수 없습니다.", en: str = "There is no such thing here.") -> Problem:
    """What is answered for an object that is missing or must not be seen."""
    return Problem(404, "not_found", ko, en)


def is_service(who: Principal) -> bool:
    """Whether another part of the platform is calling."""
    return "service" in who.roles


def sees_branch(who: Principal, branch_id: str) -> bool:
    """Whether the caller may look at what happens in a branch."""
    return who.manages(branch_id) or is_service(who)


def must_manage(who: Principal, branch_id: str) -> None:
    """Raise 403 unless the caller runs the branch."""
    if not who.manages(branch_id):
        raise Problem(
            403, "not_your_branch", "담당하는 지점이 아닙니다.", "You may do this for branches you manage only.",
        )  # fmt: skip


def must_manage_all(who: Principal, branch_ids: Iterable[str]) -> None:
    """Raise 403 unless the caller may give rights to all these branches; "*" is an operator's or a service's."""
    if is_service(who):
        return
    for branch_id in branch_ids:
        if branch_id == EVERY_BRANCH and not who.is_operator:
            raise Problem(
                403, "not_your_branch", "전 지점 이용권은 운영자만 다룰 수 있습니다.", "Rights to every branch are an operator's to give.",
            )  # fmt: skip
        must_manage(who, branch_id)


def managed(who: Principal) -> frozenset[str] | None:
    """The branches whose objects the caller sees; None: all."""
    if who.is_operator or is_service(who):
        return None
    return who.branch_ids if "branch_manager" in who.roles else frozenset()
