"""One's own data: profile, password, consents, where one is signed in, leaving."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.consents import BY_KIND, CONSENTS, PATH, newest, say_so
from platform_api.web.customer.wrong import wrong_fields
from platform_api.web.languages import say
from platform_api.web.navigation import areas_of
from platform_api.web.pages import backend, for_roles, idempotency_key, me, show, typed
from platform_api.web.signin import forget, sign_in

ME = "/auth/v1/members/me"
LONGEST = 500
LONGEST_PASSWORD = 1024
EDITED = ("name", "phone", "language", "email")


@customer.get("/app/me")
@for_roles()
def account() -> Response:
    """Everything of one's own, at a glance."""
    ask = backend()
    member, face = ask.together(lambda: ask.get(ME), lambda: ask.get(f"{ME}/face"))
    if isinstance(member, Problem):
        raise member
    return show(
        "customer/account.html",
        member=member,
        face=None if isinstance(face, Problem) else face,
        areas=areas_of(me()),
    )


@customer.get("/app/me/profile")
@for_roles()
def profile() -> Response:
    """The profile, to be changed."""
    answer = backend().send("GET", ME)
    return _profile(answer.json, answer.etag)


@customer.post("/app/me/profile")
@for_roles()
def change_profile() -> Response:
    """Change what is different from what was read; where it was changed elsewhere meanwhile, show both."""
    now = backend().send("GET", ME)
    wanted = {name: typed(name, LONGEST) for name in EDITED}
    changes = {name: value for name, value in wanted.items() if value != (now.json[name] or "")}
    if "email" in changes:
        changes["current_password"] = _password("current_password")
    try:
        if changes:
            backend().send("PATCH", ME, body=changes, etag=typed("_etag", 100), key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        # Sent once more, it is meant for what is shown now.
        return _profile(wanted, now.etag, problem, now.json)
    return make_response(redirect(url_for("customer.account", done="profile"), 303))


@customer.get("/app/me/password")
@for_roles()
def password() -> Response:
    """A new password."""
    return show("customer/password.html", problem=None, errors={})


@customer.post("/app/me/password")
@for_roles()
def change_password() -> Response:
    """Change it, which ends every session, and sign in anew here."""
    new, email = _password("new_password"), backend().get(ME)["email"]
    body = {"current_password": _password("current_password"), "new_password": new}
    try:
        backend().send("PUT", f"{ME}/password", body=body)
    except Problem as problem:
        if problem.status == 401:
            raise
        errors = wrong_fields(problem, password="new_password")  # noqa: S106 (the name of a field)
        return show("customer/password.html", problem.status, problem=problem, errors=errors)
    sign_in(backend().send("POST", "/auth/v1/tokens", body={"email": email, "password": new}).json)
    return make_response(redirect(url_for("customer.account", done="password"), 303))


@customer.get("/app/me/consents")
@for_roles()
def consents() -> Response:
    """What one agreed to, and since when."""
    history = backend().get(PATH, limit=200)["items"]
    return show(
        "customer/consents.html",
        consents=CONSENTS,
        said=newest(history),
        history=history[:20],
        titles={kind: consent.title for kind, consent in BY_KIND.items()},
    )


@customer.post("/app/me/consents/<kind>")
@for_roles()
def change_consent(kind: str) -> Response:
    """Agree, or take it back."""
    if kind not in BY_KIND or typed("granted", 1) not in ("0", "1"):
        raise Problem(404)
    say_so(kind, typed("granted", 1) == "1", idempotency_key())
    return make_response(redirect(url_for("customer.consents", done=kind), 303))


@customer.get("/app/me/sessions")
@for_roles()
def sessions() -> Response:
    """Where one is signed in."""
    found = backend().get(f"{ME}/sessions", cursor=request.args.get("cursor"), limit=50)
    return show(
        "customer/sessions.html",
        sessions=[{**each, "device": _device(each["user_agent"])} for each in found["items"] if not each["revoked_at"]],
        here=me().session_id,
        cursor=found["next_cursor"],
    )


@customer.post("/app/me/sessions/<session_id>/end")
@for_roles()
def end_session(session_id: str) -> Response:
    """Sign out somewhere else."""
    backend().send("DELETE", f"{ME}/sessions/{session_id}")
    return make_response(redirect(url_for("customer.sessions", done="1"), 303))


@customer.get("/app/me/delete")
@for_roles()
def leave() -> Response:
    """What goes when one leaves."""
    return show("customer/delete.html", problem=None, errors={})


@customer.post("/app/me/delete")
@for_roles()
def delete_account() -> Response:
    """Leave: the password is asked for once more, for it cannot be undone."""
    try:
        said = {"email": backend().get(ME)["email"], "password": _password("current_password")}
        check = backend().send("POST", "/auth/v1/tokens", body=said).json
        if check["member_id"] != me().member_id:
            raise Problem(409)
        backend().send("DELETE", ME)
    except Problem as problem:
        if problem.code == "login_failed":
            problem = Problem(403, "password_wrong", "비밀번호가 맞지 않습니다.", "The password is not right.")
        elif problem.status == 401:
            raise
        return show("customer/delete.html", problem.status, problem=problem, errors=wrong_fields(problem))
    forget()
    answer = make_response(redirect(url_for("customer.goodbye"), 303))
    answer.headers["Clear-Site-Data"] = '"storage", "cache"'
    return answer


_SYSTEMS = ("iPhone", "iPad", "Android", "Windows", "Mac OS X", "CrOS", "Linux")
_BROWSERS = (("SamsungBrowser", "Samsung Internet"), ("Edg", "Edge"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))  # fmt: skip


def _device(agent: str | None) -> str:
    """What the browser called itself, as far as it helps to know the device again; every one claims to be several."""
    said = agent or ""
    system = next((name for name in _SYSTEMS if name in said), None)
    browser = next((name for mark, name in _BROWSERS if f"{mark}/" in said), None)
    return " · ".join(filter(None, (system, browser))) or said[:60] or say("알 수 없는 기기", "unknown device")


def _password(name: str) -> str:
    return request.form.get(name, "")[:LONGEST_PASSWORD]


def _profile(
    values: dict[str, Any], etag: str | None, problem: Problem | None = None, stored: dict[str, Any] | None = None
) -> Response:
    return show(
        "customer/profile.html",
        problem.status if problem else 200,
        values=values,
        etag=etag,
        problem=problem,
        errors=wrong_fields(problem) if problem else {},
        stored=stored if problem is not None and problem.status == 412 else None,
    )
