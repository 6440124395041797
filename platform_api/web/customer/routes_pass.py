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
    branches = _branches(memberships)
    chosen = _chosen(branches)
    answer = show(
        "customer/pass.html",
        memberships=memberships,
        branches=branches,
        chosen=chosen,
        face=None if isinstance(face, Problem) else face,
        **(_code(chosen) if chosen else {}),
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


def _branches(memberships: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Branches that the memberships open, by name."""
    wanted = {branch_id for membership in memberships for branch_id in membership["branch_ids"]}
    if not wanted:
        return []
    ask = backend()
    if EVERY_BRANCH in wanted:
        found = ask.get("/branch/v1/branches", status="open", limit=MOST_BRANCHES)["items"]
        return [{"branch_id": each["branch_id"], "name": each["name"]} for each in found]
    ids = sorted(wanted)[:MOST_BRANCHES]
    # A single one needs no name to be chosen by; it is asked for all the same, to be read above the code.
    known = ask.together(*(_name_of(branch_id) for branch_id in ids))
    named = [
        (branch_id, branch_id if isinstance(name, Problem) else name)
        for branch_id, name in zip(ids, known, strict=True)
    ]
    return [{"branch_id": branch_id, "name": name} for branch_id, name in sorted(named, key=lambda pair: pair[1])]


def _name_of(branch_id: str) -> Any:
    return lambda: str(backend().get(f"/access/v1/branches/{branch_id}")["name"])


def _chosen(branches: list[dict[str, str]]) -> str | None:
    ids = [branch["branch_id"] for branch in branches]
    for said in (request.args.get("branch"), request.cookies.get(BRANCH_COOKIE)):
        if said in ids:
            return said
    own = [branch_id for branch_id in me().branch_ids if branch_id in ids]
    return next(iter([*own, *ids]), None)
