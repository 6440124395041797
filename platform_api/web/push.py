"""Push messages in this browser: it subscribes by script (static/push.js), and notification's devices know of it.

Which device this browser is stands in a cookie, so that signing out takes it off. Scripts get JSON, errors too.
"""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.core.http import ServiceUnavailable
from platform_api.web.customer.about import leads_to
from platform_api.web.languages import say
from platform_api.web.pages import backend, for_roles, idempotency_key, me, problem_page
from platform_api.web.signin import PATH, person

DEVICE = "__Secure-smartfit-device"
A_YEAR = 365 * 86400
DEVICES = "/notification/v1/devices"
MOST_BYTES = 8192

blueprint = Blueprint("push", __name__)


@blueprint.get("/app/push/key")
def key() -> Response:
    """What the browser subscribes with."""
    _signed_in()
    return jsonify(backend().get("/notification/v1/webpush-key"))


@blueprint.post("/app/push/subscription")
def subscribe() -> Response:
    """This browser has subscribed, or has a new subscription in the place of an old one."""
    said = _said()
    wanted = {"subscription": said.get("subscription"), "name": said.get("name") or None}
    device = backend().send("POST", f"{DEVICES}/webpush", body=wanted, key=idempotency_key()).json
    _, before = _device()
    if before and before != device["device_id"]:
        _remove(before)
    answer = make_response(jsonify(device), 201)
    value = f"{me().member_id}.{device['device_id']}"
    answer.set_cookie(DEVICE, value, max_age=A_YEAR, path=PATH, secure=True, httponly=True, samesite="Lax")
    return answer


@blueprint.delete("/app/push/subscription")
def unsubscribe() -> Response:
    """This browser wants no more messages."""
    _signed_in()
    sign_off()
    answer = Response(status=204)
    forget(answer)
    return answer


@blueprint.get("/app/push/open/<notification_id>")
@for_roles()
def opened(notification_id: str) -> Response:
    """From a message that was tapped to the page that shows what it is about."""
    path = f"/notification/v1/notifications/{quote(notification_id, safe='')}"
    try:
        target = leads_to(backend().get(path), me())
    except Problem as problem:
        # A digest stands in no history, and one's history ends.
        if problem.status != 404:
            raise
        target = None
    return make_response(redirect(target or url_for("customer.notifications"), 303))


@blueprint.errorhandler(Problem)
def _problem(problem: Problem) -> Response:
    if request.endpoint == "push.opened":
        return problem_page(problem)
    answer = make_response(jsonify(code=problem.code, said=say(problem.detail_ko, problem.detail_en)), problem.status)
    answer.headers.update(problem.headers)
    return answer


def sign_off() -> None:
    """Take this browser's device out, as far as it is known and can be told; a subscription that stays is found gone."""
    member_id, device_id = _device()
    if device_id and member_id == me().member_id:
        _remove(device_id)


def forget(answer: Response) -> None:
    """Let the browser forget which device it was."""
    answer.delete_cookie(DEVICE, path=PATH, secure=True, httponly=True, samesite="Lax")


def is_of_another() -> bool:
    """Whether this browser still gets the messages of somebody who was signed in before."""
    member_id, _ = _device()
    return bool(member_id) and member_id != me().member_id


def _signed_in() -> None:
    if person() is None:
        raise Problem(401)


def _said() -> dict[str, Any]:
    _signed_in()
    said = request.get_json(silent=True) if (request.content_length or 0) <= MOST_BYTES else None
    if not isinstance(said, dict):
        raise Problem(422, "invalid")
    # In another tab somebody else may have signed in meanwhile.
    if said.get("member", me().member_id) != me().member_id:
        raise Problem(
            409, "another_member", "다른 창에서 다른 회원으로 로그인했습니다. 이 화면을 새로 여세요.",
            "Another member has signed in in another tab. Open this page again.",
        )  # fmt: skip
    return said


def _device() -> tuple[str, str]:
    member_id, _, device_id = request.cookies.get(DEVICE, "").partition(".")
    return member_id, device_id


def _remove(device_id: str) -> None:
    with contextlib.suppress(Problem, ServiceUnavailable):
        backend().send("DELETE", f"{DEVICES}/{quote(device_id, safe='')}")
