"""What every page is made with: who may see it, what templates can say, how an error is shown, what forms carry."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ParamSpec
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request, url_for
from markupsafe import Markup

from platform_api.core.errors import Problem
from platform_api.web import assets
from platform_api.web.backend import Backend
from platform_api.web.languages import language, say
from platform_api.web.navigation import home_of, navigation, present
from platform_api.web.signin import Person, person
from platform_api.web.words import word

P = ParamSpec("P")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
PERMISSIONS = "camera=(self), geolocation=(self), microphone=(), payment=(), usb=()"
KEY_FIELD, MEMBER_FIELD = "_key", "_member"


def backend() -> Backend:
    """The domains."""
    found: Backend = current_app.extensions["backend"]
    return found


def me() -> Person:
    """Who is signed in; the route must have `for_roles`."""
    found = person()
    if found is None:
        raise Problem(401)
    return found


def for_roles(*roles: str) -> Callable[[Callable[P, Any]], Callable[P, Response]]:
    """Show a page to people of one of `roles` (to any who is signed in, where none is named); others may sign in first."""

    def decorate(view: Callable[P, Any]) -> Callable[P, Response]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> Response:
            found = person()
            if found is None:
                return to_login()
            if roles and not found.has(*roles):
                raise Problem(
                    403, "other_role", "이 화면은 다른 역할의 회원을 위한 곳입니다.", "This page is for other roles."
                )
            if request.method == "POST":
                _same_member(found)
            return make_response(view(*args, **kwargs))

        return guarded

    return decorate


def _same_member(signed_in: Person) -> None:
    """In another tab somebody else may have signed in meanwhile: what was typed as one member is not sent as another."""
    meant = request.form.get(MEMBER_FIELD)
    if meant is not None and meant != signed_in.member_id:
        raise Problem(
            409, "another_member",
            "다른 창에서 다른 회원으로 로그인했습니다. 이 화면을 새로 열고 다시 시도하세요.",
            "Another member has signed in in another tab. Open this page again, then try once more.",
        )  # fmt: skip


def to_login() -> Response:
    """To the form, and back here afterwards. What was typed waits in the browser (see drafts in app.js)."""
    back = request.full_path.rstrip("?") if request.method == "GET" else referring_path()
    target = url_for(
        "entry.login", next=back, ended="1" if request.method == "POST" or g.get("session_ended") else None
    )
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": url_for("entry.login", next=referring_path(), ended="1")})
    return make_response(redirect(target, 303))


def referring_path() -> str:
    """The page that a request was made from, as far as it is one of ours."""
    said = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer", ""))
    path = said.path + (f"?{said.query}" if said.query else "")
    return path if path.startswith("/app/") else url_for("entry.home")


def show(template: str, status: int = 200, **values: Any) -> Response:
    """A page, or a part of one."""
    return make_response(render_template(template, **values), status)


def idempotency_key() -> str | None:
    """Of the form that was sent: sent twice, it acts once."""
    return request.form.get(KEY_FIELD) or request.headers.get("Idempotency-Key")


def typed(name: str, longest: int = 2000) -> str:
    """A field of the form, without what no database takes."""
    return request.form.get(name, "").replace("\0", "").strip()[:longest]


def field_errors(problem: Problem) -> dict[str, str]:
    """What is wrong with which field, as the domain told it."""
    told = problem.extra.get("errors")
    found: dict[str, str] = {}
    for place in told.values() if isinstance(told, dict) else ():
        if isinstance(place, dict):
            for name, messages in place.items():
                found[str(name)] = " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
    return found


def init_app(app: Flask, timezone: ZoneInfo) -> None:
    """Give templates their words, answers their headers, and errors their page."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        say=say, asset=assets.url, form_fields=form_fields, icon=icon, page_url=page_url, word=word,
        release=assets.release,
    )  # fmt: skip
    app.jinja_env.filters.update(
        when=functools.partial(when, timezone=timezone), day=functools.partial(day, timezone=timezone),
        ago=ago, won=won, percent=percent,
    )  # fmt: skip

    @app.context_processor
    def known() -> dict[str, Any]:
        found = person()
        pages = navigation(found)
        return {"lang": language(), "me": found, "nav": pages, "present": present(pages), "home": home_of(found)}

    @app.before_request
    def refuse_other_sites() -> None:
        # Fetch Metadata, else Origin: a form of another site cannot act for whoever is signed in here.
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        ours = site in ("same-origin", "none") if site else bool(origin) and urlsplit(origin).netloc == request.host
        if not ours:
            raise Problem(403, "foreign_form", "이 사이트의 화면에서 보내세요.", "Send this from a page of this site.")

    @app.after_request
    def protect(answer: Response) -> Response:
        answer.headers.setdefault("Content-Security-Policy", POLICY)
        answer.headers.setdefault("Permissions-Policy", PERMISSIONS)
        # Where somebody came from is told to these pages (to go back there), never to others.
        answer.headers.setdefault("Referrer-Policy", "same-origin")
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer


def problem_page(problem: Problem) -> Response:
    """An error for a person: what happened and what to do; for a part of a page, only the words."""
    if problem.status == 401 and request.endpoint != "entry.login":
        from platform_api.web.signin import forget

        forget()
        g.session_ended = True
        return to_login()
    template = "parts/problem.html" if request.headers.get("HX-Request") else "problem.html"
    answer = show(template, problem.status, problem=problem)
    answer.headers.update(problem.headers)
    return answer


def form_fields() -> Markup:
    """Hidden fields of every form: the key that makes it act once, and for whom it was shown."""
    found = person()
    member = Markup('<input type="hidden" name="{}" value="{}">').format(MEMBER_FIELD, found.member_id) if found else ""
    return Markup('<input type="hidden" name="{}" value="{}">').format(KEY_FIELD, secrets.token_hex(16)) + member


def icon(name: str) -> Markup:
    """A picture beside words, which screen readers pass over."""
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        assets.url("vendor/lucide-1.62.0.svg"), name
    )


def page_url(**changes: Any) -> str:
    """This page with other parameters; None takes one away."""
    arguments = {**request.args.to_dict(), **changes}
    query = urlencode({name: value for name, value in arguments.items() if value not in (None, "")})
    return f"{request.path}?{query}" if query else request.path


def _moment(value: str | datetime) -> datetime:
    read = value if isinstance(value, datetime) else datetime.fromisoformat(value.replace("Z", "+00:00"))
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def when(value: str | datetime | None, timezone: ZoneInfo) -> Markup | str:
    """A moment by the chain's clock, with the exact one behind it."""
    if not value:
        return "–"
    local = _moment(value).astimezone(timezone)
    shown = local.strftime("%-m월 %-d일 %H:%M" if language() == "ko" else "%-d %b %H:%M")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), local.strftime("%Y-%m-%d %H:%M:%S"), shown
    )


def day(value: str | datetime | None, timezone: ZoneInfo) -> str:
    """A day by the chain's clock."""
    return _moment(value).astimezone(timezone).strftime("%Y-%m-%d") if value else "–"


def ago(value: str | datetime | None) -> str:
    """How long ago, in the largest unit that fits."""
    if not value:
        return "–"
    seconds = max(0.0, (datetime.now(UTC) - _moment(value)).total_seconds())
    for size, ko, en in ((86400, "일 전", "d ago"), (3600, "시간 전", "h ago"), (60, "분 전", "min ago")):
        if seconds >= size:
            return f"{int(seconds // size)}{say(ko, ' ' + en)}"
    return say("방금", "just now")


def won(value: int | None) -> str:
    """An amount of money."""
    return "–" if value is None else say(f"{value:,}원", f"₩{value:,}")


def percent(value: float | None, digits: int = 0) -> str:
    """A share."""
    return "–" if value is None else f"{value * 100:.{digits}f}%"
