"""A copy of all that is held of oneself: asked for, watched while it is made, downloaded with the password."""

from __future__ import annotations

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.database import DOMAINS
from platform_api.core.errors import Problem
from platform_api.web.customer import customer
from platform_api.web.customer.wrong import wrong_fields
from platform_api.web.pages import backend, for_roles, idempotency_key, show

PATH = "/auth/v1/members/me/exports"
PARTS = len(DOMAINS)
"""Parts of the platform that each give what they hold."""


@customer.get("/app/me/exports")
@for_roles()
def exports() -> Response:
    """Exports, and how far each is; the list alone where a page that is open asks how far they are."""
    return _page()


@customer.post("/app/me/exports")
@for_roles()
def request_export() -> Response:
    """Ask for one."""
    try:
        backend().send("POST", PATH, key=idempotency_key())
    except Problem as problem:
        if problem.status == 401:
            raise
        return _page(problem)
    return make_response(redirect(url_for("customer.exports"), 303))


@customer.post("/app/me/exports/<export_id>/download")
@for_roles()
def download_export(export_id: str) -> Response:
    """The file, for those who say the password."""
    body = {"password": request.form.get("password", "")[:200] or "-"}
    try:
        return backend().passed_on(
            f"{PATH}/{export_id}/download", method="POST", body=body, download_as=f"smartfit-{export_id}.zip"
        )
    except Problem as problem:
        if problem.status == 401:
            raise
        return _page(problem, export_id)


@customer.post("/app/me/exports/<export_id>/delete")
@for_roles()
def delete_export(export_id: str) -> Response:
    """Delete one, or take the request back."""
    backend().send("DELETE", f"{PATH}/{export_id}")
    return make_response(redirect(url_for("customer.exports"), 303))


def _page(problem: Problem | None = None, export_id: str | None = None) -> Response:
    items = backend().get(PATH, limit=20)["items"]
    alone = problem is None and request.headers.get("HX-Request")
    return show(
        "customer/parts/exports.html" if alone else "customer/exports.html",
        problem.status if problem else 200,
        exports=items,
        waits=any(each["state"] == "pending" for each in items),
        parts=PARTS,
        problem=problem,
        wrong=(export_id, wrong_fields(problem)) if problem and export_id else None,
    )
