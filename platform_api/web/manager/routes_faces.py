"""Faces that a gate did not know: who was it? One at a time, since each look at one is audited."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, of, page
from platform_api.web.pages import backend, for_roles, idempotency_key, me, typed

SEEN = 50
SOON = timedelta(minutes=10)
"""Whom the gate did not know by face comes in by QR pass within this time, mostly."""


@manager.get("/app/manage/faces")
@for_roles(*STAFF)
def faces() -> Response:
    """The newest face nobody has decided about, or the one asked for."""
    here = chosen()
    return _page(here, request.args.get("face"), told=request.args.get("told"))


@manager.get("/app/manage/strangers/<stranger_id>/photos/frame")
@for_roles(*STAFF)
def stranger_photo(stranger_id: str) -> Response:
    """The frame."""
    return backend().passed_on(f"/access/v1/strangers/{stranger_id}/photo")


@manager.post("/app/manage/strangers/<stranger_id>/decision")
@for_roles(*STAFF)
def identify(stranger_id: str) -> Response:
    """Say who it was."""
    here, decision = of(typed("branch", 64)), typed("decision", 20)
    who = typed("candidate", 200) or typed("member", 200)
    try:
        said: dict[str, Any] = {"decision": decision, "note": typed("note", 500) or None}
        if decision == "member":
            said["member_id"] = _member(who)
        backend().send("POST", f"/access/v1/strangers/{stranger_id}/decision", body=said, key=idempotency_key())
    except Problem as problem:
        if problem.code == "decided_already":
            return _on(here, "decided_already")
        if problem.status != 422:
            raise
        kept = {"member": typed("member", 200), "note": typed("note", 500)}
        return _page(here, stranger_id, problem.status, problem=problem, kept=kept)
    return _on(here, decision)


def _page(here: Branch, wanted: str | None, status: int = 200, **values: Any) -> Response:
    found = backend().get("/access/v1/strangers", branch_id=here.branch_id, undecided="true", limit=SEEN)
    items = found["items"]
    ids = [item["stranger_id"] for item in items]
    at = ids.index(wanted) if wanted in ids else 0
    face = items[at] if items else None
    return page(
        "faces.html", here, status, face=face, count=len(items), more=found["next_cursor"] is not None,
        following=ids[(at + 1) % len(ids)] if len(ids) > 1 else None,
        candidates=_candidates(here, face) if face else [], held=_held(), **values,
    )  # fmt: skip


def _candidates(here: Branch, face: dict[str, Any]) -> list[dict[str, Any]]:
    """Members who came in soon afterwards, each once."""
    at = datetime.fromisoformat(face["at"])
    span = {"from": at.isoformat(), "to": (at + SOON).isoformat()}
    asked = backend().get("/access/v1/entries", branch_id=here.branch_id, outcome="granted", limit=SEEN, **span)
    came = {entry["member_id"]: entry for entry in asked["items"] if entry["member_id"] and entry["direction"] != "out"}
    return sorted(came.values(), key=lambda entry: str(entry["at"]))[:5]


def _held() -> int | None:
    """Enrolments that wait for an operator; None for others, who do not decide about them."""
    if not me().has("operator"):
        return None
    return len(backend().get("/auth/v1/face-reviews", limit=SEEN)["items"])


def _member(who: str) -> str:
    """The id of the member that was named: by id, or, by an operator, by e-mail address."""
    if not who:
        raise Problem(
            422, "member_required", "어느 회원인지 고르거나 회원 번호를 적으세요.",
            "Choose the member, or write the member's number.",
        )  # fmt: skip
    if "@" not in who:
        return who
    if not me().has("operator"):
        raise Problem(
            422, "member_by_number", "이메일로는 운영자만 찾을 수 있습니다. 회원 번호를 적으세요.",
            "Only operators may look members up by e-mail. Write the member's number.",
        )  # fmt: skip
    items = backend().get("/auth/v1/members", email=who, limit=1)["items"]
    if not items:
        raise Problem(422, "member_unknown", "그 이메일의 회원이 없습니다.", "No member has that e-mail address.")
    return str(items[0]["member_id"])


def _on(here: Branch, told: str) -> Response:
    return make_response(redirect(url_for("manager.faces", branch=here.branch_id, told=told), 303))
