"""Which branch a page is about: named in its address, else the one chosen last, else the first of those the caller runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, request

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.pages import backend, me, show

STAFF = ("branch_manager", "operator")
COOKIE = "smartfit-branch"
A_YEAR = 365 * 86400
MOST = 200
"""Branches in the list of an operator; any other is named in the address."""


@dataclass(frozen=True)
class Branch:
    """A branch in the chooser. `profile`: as the branch domain describes it; None where it does not know it."""

    branch_id: str
    name: str
    profile: dict[str, Any] | None

    @property
    def timezone(self) -> ZoneInfo:
        """Whose clock its day goes by."""
        return ZoneInfo(self.profile["timezone"] if self.profile else "Asia/Seoul")


def branches() -> list[Branch]:
    """Those that the caller runs, by name."""
    if "managed_branches" not in g:
        g.managed_branches = _asked()
    found: list[Branch] = g.managed_branches
    return found


def chosen() -> Branch:
    """The branch of this page.

    Raises:
        Problem: 403 the address names a branch that is not the caller's; 404 `no_branch` there is none.
    """
    known = branches()
    wanted = request.args.get("branch")
    if wanted:
        return of(wanted)
    if not known:
        raise Problem(
            404, "no_branch",
            "담당하는 지점이 없습니다. 운영자에게 지점을 맡겨 달라고 요청하세요.",
            "You run no branch yet. Ask an operator to give you one.",
        )  # fmt: skip
    last = request.cookies.get(COOKIE)
    return next((branch for branch in known if branch.branch_id == last), known[0])


def of(branch_id: str) -> Branch:
    """The branch of that id. Raises Problem 403 where it is not the caller's, 404 where there is none."""
    for branch in branches():
        if branch.branch_id == branch_id:
            return branch
    if not me().has("operator"):
        raise Problem(
            403, "not_your_branch", "담당하는 지점이 아닙니다.", "You may do this for branches you manage only."
        )
    branch = _far(branch_id)
    g.managed_branches = [*branches(), branch]
    return branch


def page(template: str, branch: Branch, status: int = 200, **values: Any) -> Response:
    """A page about a branch, which the next one is about too."""
    answer = show(f"manager/{template}", status, branch=branch, branches=branches(), **values)
    if request.args.get("branch") and request.cookies.get(COOKIE) != branch.branch_id:
        answer.set_cookie(
            COOKIE, branch.branch_id, max_age=A_YEAR, path="/app/manage", secure=True, httponly=True, samesite="Lax"
        )
    return answer


@manager.context_processor
def _parts() -> dict[str, Any]:
    return {"got": got}


def got(answer: Any) -> bool:
    """Whether one of several questions was answered; the page shows the problem of one that was not."""
    return not isinstance(answer, Problem)


def _asked() -> list[Branch]:
    person = me()
    if person.has("operator"):
        items = backend().get("/branch/v1/branches", limit=MOST)["items"]
    else:
        items = backend().get("/branch/v1/branches/mine")["items"]
    found = [Branch(item["branch_id"], item["name"], item) for item in items]
    # A branch that is given to them but not described yet has gates and equipment all the same.
    missing = set(person.branch_ids) - {branch.branch_id for branch in found}
    if missing or (person.has("operator") and not found):
        gates = backend().get("/access/v1/branches")["items"]
        of_gates = {item["branch_id"]: item["name"] for item in gates}
        missing |= of_gates.keys() if person.has("operator") else set()
        found += [Branch(branch_id, of_gates.get(branch_id, branch_id), None) for branch_id in sorted(missing)]
    return found


def _far(branch_id: str) -> Branch:
    try:
        item = backend().get(f"/branch/v1/branches/{branch_id}")
        return Branch(branch_id, item["name"], item)
    except Problem as problem:
        if problem.status != 404:
            raise
    item = backend().get(f"/access/v1/branches/{branch_id}")
    return Branch(branch_id, item["name"], None)
