"""The QR pass: shown for one branch, renewed before it ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import segno
from flask import Response, request
from markupsafe import Markup

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.pages import backend, for_roles, me, show

EVERY_BRANCH = "*"
MOST_BRANCHES = 100
BRANCH_COOKIE = "smartfit-branch"
"""Which of several branches the pass was last shown for, on this phone."""
A_YEAR = 365 * 86400
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@customer.get("/app/pass")
@for_roles()
def pass_() -> Response:
    """The pass, and what else opens the gate."""
    ask = backend()
    memberships, face = ask.together(
        lambda: ask.get("/access/v1/memberships")["items"], lambda: ask.get("/auth/v1/members/me/face")
    )
    if isinstance(memberships, Problem):
        raise memberships
    branches = _ids(memberships)
    chosen = _chosen(branches)
    code, *names = ask.together(lambda: _code(chosen) if chosen else {}, *map(_name_of, branches))
    if isinstance(code, Problem):
        raise code
    answer = show(
        "customer/pass.html",
        memberships=memberships,
        branches=_by_name(branches, names),
        chosen=chosen,
        face=None if isinstance(face, Problem) else face,
        **code,
    )
    if chosen and request.args.get("branch"):
        answer.set_cookie(
            BRANCH_COOKIE, chosen, max_age=A_YEAR, path="/app", secure=True, httponly=True, samesite="Lax"
        )
    return answer


@customer.post("/app/pass/code")
@for_roles()
def pass_code() -> Response:
    """A new code in place of the one before."""
    branch_id = request.form.get("branch", "")
    if not _ID.fullmatch(branch_id):
        raise Problem(404)
    return show("customer/parts/code.html", chosen=branch_id, **_code(branch_id))


def _code(branch_id: str) -> dict[str, Any]:
    """A pass as a picture, with the seconds that it lives, or the reason why there is none."""
    try:
        made = backend().send("POST", "/access/v1/qr-passes", body={"branch_id": branch_id}).json
    except Problem as problem:
        if problem.status == 401:
            raise
        return {"refused": problem}
    ends = datetime.fromisoformat(made["expires_at"])
    picture = segno.make(made["token"], error="m", micro=False).svg_inline(
        scale=4, border=4, omitsize=True, light="#fff", dark="#000"
    )
    # The picture is ours: segno made it of a token in the alphabet of base64url.
    return {"picture": Markup(picture), "seconds": max(1, round((ends - datetime.now(UTC)).total_seconds()))}  # noqa: S704


def _ids(memberships: list[dict[str, Any]]) -> list[str]:
    """Branches that the memberships open."""
    wanted = {branch_id for membership in memberships for branch_id in membership["branch_ids"]}
    if EVERY_BRANCH in wanted:
        found = backend().get("/branch/v1/branches", status="open", limit=MOST_BRANCHES)["items"]
        return [each["branch_id"] for each in found]
    return sorted(wanted)[:MOST_BRANCHES]


def _by_name(ids: list[str], names: list[Any]) -> list[dict[str, str]]:
    """The branches by their names; by their ids where a name could not be had: the gate opens all the same."""
    named = [
        (branch_id if isinstance(name, Problem) else name, branch_id)
        for branch_id, name in zip(ids, names, strict=True)
    ]
    return [{"branch_id": branch_id, "name": name} for name, branch_id in sorted(named)]


def _name_of(branch_id: str) -> Any:
    return lambda: str(backend().get(f"/access/v1/branches/{branch_id}")["name"])


def _chosen(ids: list[str]) -> str | None:
    for said in (request.args.get("branch"), request.cookies.get(BRANCH_COOKIE)):
        if said in ids:
            return said
    own = [branch_id for branch_id in me().branch_ids if branch_id in ids]
    return next(iter([*own, *ids]), None)
