"""What one was told: list, reading, and how many wait."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.core.http import ServiceUnavailable
from platform_api.web.customer import customer
from platform_api.web.customer.about import leads_to
from platform_api.web.pages import backend, for_roles, idempotency_key, me, show, typed
from platform_api.web.signin import person

PER_PAGE = 20


@customer.get("/app/notifications")
@for_roles()
def notifications() -> Response:
    """The list, the newest first."""
    unread = bool(request.args.get("unread"))
    listed, count = backend().together(
        lambda: backend().get(
            "/notification/v1/notifications",
            unread="true" if unread else None, cursor=request.args.get("cursor"), limit=PER_PAGE,
        ),
        _unread,
    )  # fmt: skip
    if isinstance(listed, Problem):
        raise listed
    leads = {each["notification_id"]: leads_to(each, me()) for each in listed["items"]}
    # Read is what was on the page, not what came since.
    newest = listed["items"][0]["created_at"] if listed["items"] and not request.args.get("cursor") else None
    return show(
        "customer/notifications.html", listed=listed, leads=leads, only_unread=unread, newest=newest,
        count=0 if isinstance(count, Problem) else count["unread"],
    )  # fmt: skip


@customer.get("/app/notifications/unread")
def unread() -> Response:
    """How many wait: asked by the bell on every page, so it never gets in anybody's way."""
    if person() is None:
        return Response(status=204)
    try:
        return show("customer/parts/unread.html", count=_unread()["unread"])
    except (Problem, ServiceUnavailable):
        return Response(status=204)


@customer.post("/app/notifications/read")
@for_roles()
def read_all() -> Response:
    """All that was on the page is read."""
    until = typed("until", 40) or None
    backend().send("POST", "/notification/v1/notifications/read", body={"until": until}, key=idempotency_key())
    return make_response(redirect(url_for("customer.notifications"), 303))


@customer.post("/app/notifications/<notification_id>")
@for_roles()
def read_one(notification_id: str) -> Response:
    """It is read; and on to what it is about, where that was pressed."""
    path = f"/notification/v1/notifications/{quote(notification_id, safe='')}/read"
    read = backend().send("POST", path, key=idempotency_key()).json
    target = leads_to(read, me()) if request.form.get("then") == "go" else None
    if target is None and request.headers.get("HX-Request"):
        return show("customer/parts/notification.html", each=read, lead=leads_to(read, me()))
    return make_response(redirect(target or url_for("customer.notifications"), 303))


def _unread() -> dict[str, int]:
    found: dict[str, int] = backend().get("/notification/v1/notifications/unread")
    return found
