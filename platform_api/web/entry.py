"""The way in: arriving, signing in and out, the language."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Response, g, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web import push
from platform_api.web.languages import COOKIE, LANGUAGES
from platform_api.web.navigation import areas_of, home_of
from platform_api.web.pages import backend, for_roles, me, show, typed
from platform_api.web.signin import DAGSTER, person, renew_now, sign_in, sign_out

LONGEST = 500
A_YEAR = 365 * 86400

blueprint = Blueprint("entry", __name__)


@blueprint.get("/")
def root() -> Response:
    """To the pages."""
    return make_response(redirect(url_for("entry.home"), 302))


@blueprint.get("/app/")
def home() -> Response:
    """Where one arrives: to the pages of one's role, or to what anybody may see."""
    found = person()
    return make_response(redirect(home_of(found), 303)) if found else show("home.html")


@blueprint.get("/app/login")
def login() -> Response:
    """The form; or straight on, where somebody is signed in already."""
    target = _target()
    if person() is not None and not request.args.get("ended"):
        if target == DAGSTER:
            renew_now()
            if not me().has("operator"):
                return _form(
                    Problem(
                        403, "operators_only", "운영자만 볼 수 있는 화면입니다.", "These pages are for operators only."
                    )
                )
        return make_response(redirect(target or home_of(person()), 303))
    return _form()


@blueprint.post("/app/login")
def log_in() -> Response:
    """Sign in, and on."""
    email = typed("email", LONGEST)
    try:
        said = {"email": email, "password": request.form.get("password", "")[:LONGEST]}
        sign_in(backend().send("POST", "/auth/v1/tokens", body=said).json)
    except Problem as problem:
        return _form(problem, email)
    answer = make_response(redirect(_target() or home_of(person()), 303))
    if push.is_of_another():
        # The subscription goes with the service worker; whoever was here before would see the messages of nobody else.
        answer.headers["Clear-Site-Data"] = '"storage"'
        push.forget(answer)
    return answer


@blueprint.post("/app/logout")
def logout() -> Response:
    """Sign out, here and in all tabs."""
    if person() is not None:
        push.sign_off()
    sign_out(backend())
    answer = make_response(redirect(url_for("entry.login", out="1"), 303))
    push.forget(answer)
    # Drafts and kept pages go too (a shared phone).
    answer.headers["Clear-Site-Data"] = '"storage", "cache"'
    return answer


@blueprint.get("/app/areas")
@for_roles()
def areas() -> Response:
    """The areas of somebody with several roles."""
    return show("areas.html", areas=areas_of(me()))


@blueprint.get("/app/language/<code>")
def choose_language(code: str) -> Response:
    """Choose the language, and back."""
    if code not in LANGUAGES:
        raise Problem(404)
    answer = make_response(redirect(_target() or url_for("entry.home"), 303))
    answer.set_cookie(COOKIE, code, max_age=A_YEAR, path="/app", secure=True, httponly=True, samesite="Lax")
    return answer


def _target() -> str | None:
    """Where to go on to: a page of ours, or Dagster's; never another site."""
    said = request.args.get("next", "")
    if said == DAGSTER:
        return DAGSTER
    parts = urlsplit(said)
    ours = not parts.scheme and not parts.netloc and said.startswith("/app/") and "\\" not in said
    return said if ours else None


def _form(problem: Problem | None = None, email: str = "") -> Response:
    ended = bool(request.args.get("ended")) and problem is None
    status = problem.status if problem is not None else 200
    return show("login.html", status, problem=problem, email=email, ended=ended or g.get("session_ended", False))
