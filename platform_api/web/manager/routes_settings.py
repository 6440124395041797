"""What a manager says of a branch: name, hours, amenities, capacity, photos."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, make_response, redirect, request, url_for

from platform_api.core.errors import Problem
from platform_api.web.manager import manager
from platform_api.web.manager.chooser import STAFF, Branch, chosen, of, page
from platform_api.web.pages import backend, field_errors, for_roles, idempotency_key, typed

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TEXTS = ("name", "name_en", "description", "description_en", "phone", "address", "region")
NULLABLE = ("name_en", "description_en", "phone")
LONGEST = 5000
_RANGE = re.compile(r"\s*(\d{1,2}:\d\d)\s*[-~–]\s*(\d{1,2}:\d\d)\s*")


@manager.get("/app/manage/settings")
@for_roles(*STAFF)
def settings() -> Response:
    """The description as it is."""
    return _form(chosen(), told=request.args.get("told"))


@manager.post("/app/manage/branches/<branch_id>/settings")
@for_roles(*STAFF)
def save_settings(branch_id: str) -> Response:
    """Change it, unless somebody else did meanwhile."""
    here = of(branch_id)
    typed_in = {name: typed(name, LONGEST) for name in (*TEXTS, "amenities", "capacity", *DAYS)}
    typed_in["all_day"] = typed("all_day", 3)
    try:
        body = _described(typed_in)
        path = f"/branch/v1/branches/{branch_id}"
        backend().send("PATCH", path, body=body, key=idempotency_key(), etag=typed("etag", 80))
    except Problem as problem:
        return _form(here, problem, typed_in)
    return _saved(branch_id, "saved")


@manager.post("/app/manage/branches/<branch_id>/photos")
@for_roles(*STAFF)
def add_photo(branch_id: str) -> Response:
    """Add a photo."""
    here, sent = of(branch_id), request.files.get("photo")
    try:
        if sent is None or not sent.filename:
            raise Problem(422, "photo_count", "사진을 고르세요.", "Choose a photo.")
        backend().send(
            "POST", f"/branch/v1/branches/{branch_id}/photos", key=idempotency_key(), etag=typed("etag", 80),
            fields={"caption": typed("caption", 200)} if typed("caption", 200) else {},
            files=[("photo", ("photo", sent.read(), sent.mimetype or "image/jpeg"))],
        )  # fmt: skip
    except Problem as problem:
        return _form(here, problem)
    return _saved(branch_id, "photo_added")


@manager.post("/app/manage/branches/<branch_id>/photos/<photo_id>/remove")
@for_roles(*STAFF)
def remove_photo(branch_id: str, photo_id: str) -> Response:
    """Delete a photo."""
    here, path = of(branch_id), f"/branch/v1/branches/{branch_id}/photos/{photo_id}"
    try:
        backend().send("DELETE", path, key=idempotency_key(), etag=typed("etag", 80))
    except Problem as problem:
        return _form(here, problem)
    return _saved(branch_id, "photo_removed")


@manager.get("/app/manage/branches/<branch_id>/photos/<photo_id>")
@for_roles(*STAFF)
def branch_photo(branch_id: str, photo_id: str) -> Response:
    """A photo of the branch."""
    return backend().passed_on(f"/branch/v1/branches/{branch_id}/photos/{photo_id}")


def _form(
    here: Branch, problem: Problem | None = None, typed_in: dict[str, str] | None = None, told: str | None = None
) -> Response:
    try:
        answer = backend().send("GET", f"/branch/v1/branches/{here.branch_id}")
    except Problem as missing:
        if missing.status != 404:
            raise
        return page("settings.html", here, told=None, profile=None)
    profile = answer.json
    values = typed_in or {
        **{name: profile[name] or "" for name in TEXTS},
        "amenities": ", ".join(profile["amenities"]),
        "capacity": "" if profile["capacity"] is None else str(profile["capacity"]),
        "all_day": "" if profile["hours"] is not None else "yes",
        **{day: ", ".join("-".join(pair) for pair in (profile["hours"] or {}).get(day, ())) for day in DAYS},
    }
    return page(
        "settings.html", here, problem.status if problem else 200, told=told, profile=profile, values=values,
        etag=answer.etag, problem=problem, errors=field_errors(problem) if problem else {}, days=DAYS,
    )  # fmt: skip


def _described(said: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {name: said[name] or (None if name in NULLABLE else "") for name in TEXTS}
    body["amenities"] = [code for code in re.split(r"[,\s]+", said["amenities"]) if code]
    if said["capacity"] and not said["capacity"].isdigit():
        raise Problem(422, "capacity_invalid", "정원을 숫자로 적으세요.", "Write the capacity as a number.")
    body["capacity"] = int(said["capacity"]) if said["capacity"] else None
    body["hours"] = None if said["all_day"] else {day: _ranges(said[day]) for day in DAYS if said[day]}
    return body


def _ranges(said: str) -> list[list[str]]:
    """`06:00-12:00, 13:00-23:00`. Raises Problem 422."""
    found = []
    for part in said.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise Problem(
                422, "hours_invalid", f"시간을 06:00-23:00처럼 적으세요: {part.strip()[:40]}",
                f"Write hours like 06:00-23:00: {part.strip()[:40]}",
            )  # fmt: skip
        found.append([match[1].zfill(5), match[2].zfill(5)])
    return found


def _saved(branch_id: str, told: str) -> Response:
    return make_response(redirect(url_for("manager.settings", branch=branch_id, told=told), 303))
