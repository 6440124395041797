"""Where an operator logs in to pages that have no accounts of their own (Dagster's): the gateway lets in who has the cookie.

The access token goes into a cookie that only those pages are sent, that no script reads and no other site can make the browser
send; it lives as long as the token. The refresh token's cookie is sent here alone, so that whoever comes back after a quarter
of an hour passes through without typing.
"""

from flask import Blueprint, Response, make_response, redirect, render_template, request

from platform_api.auth import members, sessions
from platform_api.core.addresses import caller_address
from platform_api.core.errors import Problem
from platform_api.core.web import current_session, transaction

COOKIE = "__Secure-smartfit-operator"
REFRESH_COOKIE = "__Secure-smartfit-refresh"
PAGES = "/dagster"
LOGIN = "/console/login"
OPERATOR = "operator"
LONGEST_FIELD = 500

blp = Blueprint("console", __name__, template_folder="templates")


@blp.get(LOGIN)
def page() -> Response:
    """The form; or straight on, where the browser still holds a session."""
    token = request.cookies.get(REFRESH_COOKIE)
    if token:
        try:
            return _renewed(token)
        except Problem:
            return _form()  # it has ended: to be typed again
    return _form()


@blp.post(LOGIN)
def login() -> Response:
    """Log in, and on to the pages."""
    # A form of another site must not log anybody in as somebody else (login CSRF).
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return _form(Problem(403, "foreign_form", "이 페이지에서 로그인하세요.", "Log in on this page."))
    email, password = (request.form.get(name, "").replace("\0", "")[:LONGEST_FIELD] for name in ("email", "password"))
    try:
        return _logged_in(email, password)
    except Problem as problem:
        return _form(problem, email)


@transaction("auth")
def _logged_in(email: str, password: str) -> Response:
    tokens = sessions.login(
        current_session(),
        members.email_key(email),
        password,
        address=caller_address(),
        user_agent=request.headers.get("User-Agent"),
    )
    return _let_in(tokens)


@transaction("auth")
def _renewed(token: str) -> Response:
    return _let_in(sessions.refresh(current_session(), token))


def _let_in(tokens: sessions.Tokens) -> Response:
    assert tokens.member_id is not None
    assert tokens.refresh_token is not None
    if OPERATOR not in members.get(current_session(), tokens.member_id).roles:
        sessions.logout(current_session(), tokens.refresh_token)
        raise Problem(
            403,
            "operators_only",
            "운영자만 볼 수 있는 화면입니다.",
            "These pages are for operators only.",
            commit=True,
        )
    answer = make_response(redirect(PAGES, 303))
    answer.set_cookie(
        COOKIE,
        tokens.access_token,
        max_age=tokens.expires_in,
        path=PAGES,
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    answer.set_cookie(REFRESH_COOKIE, tokens.refresh_token, path=LOGIN, secure=True, httponly=True, samesite="Strict")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _form(problem: Problem | None = None, email: str = "") -> Response:
    answer = make_response(
        render_template("login.html", problem=problem, email=email), problem.status if problem is not None else 200
    )
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    if request.cookies.get(REFRESH_COOKIE):
        answer.delete_cookie(REFRESH_COOKIE, path=LOGIN, secure=True, httponly=True, samesite="Strict")
    return answer
