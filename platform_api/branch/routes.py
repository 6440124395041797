"""HTTP of the branch domain: branches here; what managers work with in a module of its own."""

from typing import Any

from flask import Flask, Response, request
from marshmallow import ValidationError

from platform_api.branch import branches, histories, personal, photos, queue, routes_internal, routes_work, schemas
from platform_api.branch.authority import must_manage
from platform_api.branch.models import Branch
from platform_api.branch.settings import settings
from platform_api.core.errors import Problem
from platform_api.core.openapi import BINARY
from platform_api.core.schemas import IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.uploads import in_memory_upload, small_body, uploaded
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("branches", "/branch/v1/branches", "Branches: profile, managers, photos")
blueprints = [blp, personal.blp, *routes_work.blueprints, routes_internal.internal]
for each in blueprints:
    each.before_request(small_body)

STAFF = ("branch_manager", "operator")
FORM_ROOM = 2**16


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (settings, photos.store, queue.store, histories.pseudonyms):
        cached.cache_clear()
    settings()
    photos.store()


def _answer(branch: Branch, status: int = 200) -> Any:
    return tagged(branch, branch.version, status)


@blp.get("")
@transaction("branch")
@blp.arguments(schemas.BranchQuery, location="query")
@blp.response(200, schemas.BranchPage)
def list_branches(query: dict[str, Any]) -> dict[str, Any]:
    """All branches, by name, for everybody."""
    items, cursor = branches.listed(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/mine")
@require("branch_manager")
@transaction("branch")
@blp.response(200, schemas.BranchList)
def mine() -> dict[str, Any]:
    """The branches you run."""
    return {"items": branches.of_manager(current_session(), principal())}


@blp.post("")
@require("operator")
@transaction("branch", idempotent=True)
@blp.arguments(schemas.NewBranch)
@blp.response(201, schemas.BranchProfileSchema)
def create(wanted: dict[str, Any]) -> Any:
    """A new branch."""
    return _answer(branches.create(current_session(), principal(), wanted), 201)


@blp.get("/<branch_id>")
@transaction("branch")
@blp.response(200, schemas.BranchProfileSchema)
def get(branch_id: str) -> Any:
    """One branch, with its ETag, for everybody."""
    return _answer(branches.get(current_session(), branch_id))


@blp.patch("/<branch_id>")
@require(*STAFF)
@transaction("branch", idempotent=True)
@blp.arguments(schemas.BranchProfileChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.BranchProfileSchema)
def change(wanted: dict[str, Any], headers: dict[str, Any], branch_id: str) -> Any:
    """Change some fields of a branch you run; send the ETag you read as If-Match."""
    return _answer(branches.change(current_session(), principal(), branch_id, wanted, headers["if_match"]))


@blp.get("/<branch_id>/managers")
@require(*STAFF)
@transaction("branch")
@blp.response(200, schemas.ManagersSchema)
def get_managers(branch_id: str) -> Any:
    """Who runs a branch of yours."""
    branch = branches.get(current_session(), branch_id)
    must_manage(principal(), branch)
    return _answer(branch)


@blp.put("/<branch_id>/managers")
@require("operator")
@transaction("branch", idempotent=True)
@blp.arguments(schemas.ManagersChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.ManagersSchema)
def set_managers(wanted: dict[str, Any], headers: dict[str, Any], branch_id: str) -> Any:
    """Say who runs a branch. (The role branch_manager itself is given by the auth domain.)"""
    who, if_match = principal(), headers["if_match"]
    return _answer(branches.set_managers(current_session(), who, branch_id, wanted["manager_ids"], if_match))


@blp.post("/<branch_id>/photos")
@require(*STAFF)
@in_memory_upload(lambda: settings().branch_photo_max_bytes + FORM_ROOM)
@transaction("branch", idempotent=True)
@blp.arguments(IfMatch, location="headers")
@blp.response(201, schemas.BranchProfileSchema)
@blp.doc(requestBody={"required": True, "content": {"multipart/form-data": {"schema": schemas.PHOTO}}})
def add_photo(headers: dict[str, Any], branch_id: str) -> Any:
    """Add a photo (part `photo`) with a caption."""
    who, sent = principal(), uploaded("photo")
    return _answer(photos.add(current_session(), who, branch_id, sent, _caption(), headers["if_match"]), 201)


@blp.get("/<branch_id>/photos/<photo_id>")
@transaction("branch")
@blp.response(200, BINARY, content_type="image/jpeg")
def photo(branch_id: str, photo_id: str) -> Response:
    """A photo, for everybody; it never changes."""
    jpeg = photos.jpeg_of(current_session(), branch_id, photo_id)
    headers = {"Cache-Control": "public, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(jpeg, 200, headers, content_type="image/jpeg")


@blp.delete("/<branch_id>/photos/<photo_id>")
@require(*STAFF)
@transaction("branch", idempotent=True)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.BranchProfileSchema)
def remove_photo(headers: dict[str, Any], branch_id: str, photo_id: str) -> Any:
    """Delete a photo."""
    return _answer(photos.remove(current_session(), principal(), branch_id, photo_id, headers["if_match"]))


def _caption() -> str | None:
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "not_multipart", "multipart/form-data로 보내세요.", "Send multipart/form-data.")
    try:
        caption: str | None = schemas.CaptionForm().load(request.form.to_dict())["caption"]
    except ValidationError as error:
        raise Problem(422, errors={"form": error.messages}) from error
    return caption
