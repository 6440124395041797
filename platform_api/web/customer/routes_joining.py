"""Signing up, and the page of those who have left."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.consents import AT_SIGN_UP, say_so
from platform_api.web.customer.wrong import wrong_fields
from platform_api.web.languages import language, say
from platform_api.web.navigation import home_of
from platform_api.web.pages import backend, idempotency_key, show, typed
from platform_api.web.signin import person, sign_in

LONGEST = 500
KEPT = ("email", "name", "phone", "birth_date", "language")
"""Fields that are shown again after an error; a password and a card are never sent back to the browser."""


@customer.get("/app/signup")
def signup() -> Response:
    """The form."""
    found = person()
    if found is not None:
        return make_response(redirect(home_of(found), 303))
    return _form({"language": language()})


@customer.post("/app/signup")
def sign_up() -> Response:
    """Register, sign in, note what was agreed to, and on to the face."""
    values = {name: typed(name, LONGEST) for name in KEPT}
    agreed = [consent.kind for consent in AT_SIGN_UP if typed(consent.kind, 1)]
    missing = {
        consent.kind: say("가입하려면 동의가 필요합니다.", "This is needed to sign up.")
        for consent in AT_SIGN_UP
        if consent.required and consent.kind not in agreed
    }
    if missing:
        problem = Problem(
            422, "consent_needed", "필수 항목에 동의해야 가입할 수 있습니다.", "Agree to what is marked as required to sign up."
        )  # fmt: skip
        return _form(values, problem, missing, agreed)
    password = request.form.get("password", "")[: 4 * LONGEST]
    card = {"number": re.sub(r"[\s-]", "", typed("number", 60)), "expiry": _expiry(typed("expiry", 20))}
    key = idempotency_key()
    try:
        backend().send("POST", "/auth/v1/members", body={**values, "password": password, "card": card}, key=key)
        said = {"email": values["email"], "password": password}
        sign_in(backend().send("POST", "/auth/v1/tokens", body=said).json)
    except Problem as problem:
        return _form(values, problem, wrong_fields(problem), agreed)
    try:
        for consent in AT_SIGN_UP:
            say_so(consent.kind, consent.kind in agreed, key)
    except Problem:
        return make_response(redirect(url_for("customer.consents", again="1"), 303))
    return make_response(redirect(url_for("customer.face", welcome="1"), 303))


@customer.get("/app/goodbye")
def goodbye() -> Response:
    """What those see who have deleted their account."""
    return show("customer/goodbye.html")


def _expiry(said: str) -> str:
    """MM/YY, from what people and browsers write: `0829`, `8/29`, `08 / 2029`."""
    found = re.fullmatch(r"(\d{1,2})\s*[/.\- ]\s*(?:20)?(\d\d)|(\d\d)(?:20)?(\d\d)", said)
    if found is None:
        return said
    month, year = found[1] or found[3], found[2] or found[4]
    return f"{month:0>2}/{year}"


def _form(
    values: dict[str, Any],
    problem: Problem | None = None,
    errors: dict[str, str] | None = None,
    agreed: list[str] | None = None,
) -> Response:
    return show(
        "customer/signup.html",
        problem.status if problem else 200,
        values=values,
        problem=problem,
        errors=errors or {},
        agreed=agreed or [],
        consents=AT_SIGN_UP,
    )
