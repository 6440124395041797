"""The face: what it is for, consent, guided enrolment, withdrawal."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.core.http import ServiceUnavailable
from platform_api.web.customer import customer
from platform_api.web.customer.consents import BY_KIND, say_so
from platform_api.web.pages import backend, for_roles, idempotency_key, show

PATH = "/auth/v1/members/me/face"
MOST, LEAST = 5, 3
"""Photos of an enrolment: as many as the API takes; and as many as the guide asks for, so that the face is known from more than
one side."""
LONGEST_SIDE = 1280
MOST_BYTES = 8 * 2**20


@customer.get("/app/face")
@for_roles()
def face() -> Response:
    """What is held of one's face, and the way to enrol it."""
    return _page()


@customer.post("/app/face/consent")
@for_roles()
def face_consent() -> Response:
    """Agree to the use of one's face."""
    say_so("face", True, idempotency_key())
    return make_response(redirect(url_for("customer.face") + "#enrol", 303))


@customer.post("/app/face/checks")
@for_roles()
def check_face() -> Response:
    """What is to be said of one photo, as a part of the page."""
    try:
        verdict = backend().send("POST", f"{PATH}/checks", files=_photos()).json
    except (Problem, ServiceUnavailable) as error:
        problem = error if isinstance(error, Problem) else Problem(503)
        if problem.status == 401:
            raise problem from None
        return show("customer/parts/verdict.html", problem=problem, verdict={"accepted": False})
    return show("customer/parts/verdict.html", problem=None, verdict=verdict)


@customer.post("/app/face")
@for_roles()
def enrol_face() -> Response:
    """Enrol one's face from the photos."""
    try:
        photos = _photos()
        if not photos:
            raise Problem(422, "photos_count", f"사진을 1~{MOST}장 고르세요.", f"Choose 1 to {MOST} photos.")
        answer = backend().send("POST", PATH, files=photos, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        if request.headers.get("HX-Request"):
            return show("customer/parts/refused.html", problem.status, problem=problem)
        return _page(problem)
    return make_response(redirect(url_for("customer.face", done=answer.json["status"]), 303))


@customer.post("/app/face/withdrawal")
@for_roles()
def withdraw_face() -> Response:
    """Take the face back, with the consent to it."""
    say_so("face", False, idempotency_key())
    return make_response(redirect(url_for("customer.face", done="withdrawn"), 303))


def _photos() -> list[tuple[str, tuple[str, Any, str]]]:
    sent = [each for each in request.files.getlist("photos") if each.filename]
    return [
        ("photos", (f"{number}.jpg", each.stream, each.mimetype or "image/jpeg")) for number, each in enumerate(sent)
    ]


def _page(problem: Problem | None = None) -> Response:
    return show(
        "customer/face.html",
        problem.status if problem else 200,
        face=backend().get(PATH),
        consent=BY_KIND["face"],
        problem=problem,
        most=MOST,
        least=LEAST,
        side=LONGEST_SIDE,
        most_bytes=MOST_BYTES,
    )
