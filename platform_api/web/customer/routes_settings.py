"""How one is told: by what, in which hours, where to."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.about import kinds_for
from platform_api.web.languages import say
from platform_api.web.pages import backend, field_errors, for_roles, idempotency_key, me, show, typed

ALWAYS = ("account", "security", "equipment_fault")
"""By push these come in any case (the API refuses anything else)."""
PREFERENCES, EMAIL, DEVICES = "/notification/v1/preferences", "/notification/v1/email", "/notification/v1/devices"


@customer.get("/app/notifications/settings")
@for_roles()
def notification_settings() -> Response:
    """The page."""
    return _page()


@customer.post("/app/notifications/settings")
@for_roles()
def save_notification_settings() -> Response:
    """Keep what was chosen, unless it was changed elsewhere meanwhile."""
    chosen = _chosen()
    try:
        backend().send(
            "PUT", PREFERENCES, body=chosen, key=idempotency_key(), etag=request.form.get("etag", "")[:200] or None
        )
    except Problem as problem:
        if problem.status == 401:
            raise
        return _page(problem=problem, chosen=chosen, errors=_errors(problem))
    return _back("saved")


@customer.post("/app/notifications/email")
@for_roles()
def give_email() -> Response:
    """An address for mail; a code is sent there."""
    address = typed("address", 300)
    try:
        backend().send("PUT", EMAIL, body={"address": address}, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        wrong = say("이메일 주소를 name@example.com처럼 적으세요.", "Write an address like name@example.com.")
        errors = {"address": wrong} if "address" in field_errors(problem) else {}
        return _page(email_problem=problem, address=address, errors=errors)
    return _back("code", "email")


@customer.post("/app/notifications/email/code")
@for_roles()
def prove_email() -> Response:
    """The code that came there."""
    code = typed("code", 20).replace(" ", "")
    try:
        backend().send("POST", f"{EMAIL}/verification", body={"code": code}, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        wrong = say("메일에 온 숫자 여섯 자리를 적으세요.", "Enter the six digits from the mail.")
        errors = {"code": wrong} if "code" in field_errors(problem) else {}
        return _page(email_problem=problem, code=code, errors=errors)
    return _back("proven", "email")


@customer.post("/app/notifications/email/delete")
@for_roles()
def remove_email() -> Response:
    """No mail any more."""
    backend().send("DELETE", EMAIL, key=idempotency_key())
    return _back("email_gone", "email")


@customer.post("/app/notifications/devices/<device_id>/delete")
@for_roles()
def remove_device(device_id: str) -> Response:
    """No push messages there any more."""
    try:
        backend().send("DELETE", f"{DEVICES}/{quote(device_id, safe='')}", key=idempotency_key())
    except Problem as problem:
        # In another tab it may be gone already.
        if problem.status != 404:
            raise
    return _back("device_gone", "devices")


def _page(
    *, problem: Problem | None = None, email_problem: Problem | None = None, chosen: dict[str, Any] | None = None,
    **typed_in: Any,
) -> Response:  # fmt: skip
    found, devices = backend().together(
        lambda: backend().send("GET", PREFERENCES), lambda: backend().get(DEVICES)["items"]
    )
    if isinstance(found, Problem):
        raise found
    wrong = problem or email_problem
    # Saving once more, after a conflict, is meant for what is shown now.
    etag = found.etag if chosen is None or (problem and problem.status == 412) else request.form.get("etag", "")
    return show(
        "customer/settings.html", wrong.status if wrong else 200,
        wishes=chosen or found.json, etag=etag, email=found.json["email"], kinds=kinds_for(me()), always=ALWAYS,
        devices=None if isinstance(devices, Problem) else devices, problem=problem, email_problem=email_problem,
        told=request.args.get("told"), **{"errors": {}, "address": "", "code": "", **typed_in},
    )  # fmt: skip


def _chosen() -> dict[str, Any]:
    """As it stands in the form. Kinds that are not shown to this person stay as they are."""
    kinds = backend().get(PREFERENCES)["kinds"]
    for kind in kinds_for(me()):
        wanted = request.form.getlist(f"kind-{kind}")
        kinds[kind] = {"push": kind in ALWAYS or "push" in wanted, "email": "email" in wanted}
    return {
        "language": typed("language", 5) or None,
        "timezone": typed("timezone", 64),
        "quiet_from": typed("quiet_from", 5) or None,
        "quiet_until": typed("quiet_until", 5) or None,
        "kinds": kinds,
    }


def _errors(problem: Problem) -> dict[str, str]:
    words = {
        "timezone": say("Asia/Seoul처럼 적으세요.", "Write it like Asia/Seoul."),
        "quiet_from": say("22:00처럼 적으세요.", "Write it like 22:00."),
        "quiet_until": say("07:00처럼 적으세요.", "Write it like 07:00."),
    }
    return {name: words.get(name, said) for name, said in field_errors(problem).items()}


def _back(told: str, anchor: str | None = None) -> Response:
    return make_response(redirect(url_for("customer.notification_settings", told=told, _anchor=anchor), 303))
