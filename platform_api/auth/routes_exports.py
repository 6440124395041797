"""HTTP of exports: asked for by the member or an operator, downloaded by the member alone."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for

from platform_api.auth import exports, members, schemas_exports
from platform_api.auth.access_rules import member_or_me
from platform_api.auth.models import MemberExport
from platform_api.core.addresses import caller_address
from platform_api.core.errors import Problem
from platform_api.core.openapi import BINARY
from platform_api.core.personal import ZIP
from platform_api.core.schemas import PEOPLE, PageQuery
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("auth-exports", "/auth/v1", "Exports: all that the platform holds of a member")
blueprints = [blp]


@blp.post("/members/<member_id>/exports")
@require(*PEOPLE)
@transaction("auth", idempotent=True)
@blp.response(202, schemas_exports.ExportSchema)
def request_export(member_id: str) -> tuple[MemberExport, int, dict[str, str]]:
    """Ask for everything that any part of the platform holds of the member; Location names where to look for it."""
    found = exports.request(current_session(), member_or_me(member_id), principal().id)
    place = url_for("auth-exports.show_export", member_id=found.member_id, export_id=found.id)
    return found, 202, {"Location": place}


@blp.get("/members/<member_id>/exports")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas_exports.ExportPage)
def list_exports(query: dict[str, Any], member_id: str) -> dict[str, Any]:
    """Exports that were asked for, newest first."""
    member = members.get(current_session(), member_or_me(member_id))
    items, cursor = exports.listed(current_session(), member.id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/members/<member_id>/exports/<export_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.response(200, schemas_exports.ExportSchema)
def show_export(member_id: str, export_id: str) -> MemberExport:
    """How far an export is."""
    return exports.get(current_session(), member_or_me(member_id), export_id)


@blp.post("/members/<member_id>/exports/<export_id>/download")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(schemas_exports.DownloadSchema)
@blp.response(200, BINARY, content_type=ZIP)
def download_export(said: dict[str, str], member_id: str, export_id: str) -> Response:
    """The ZIP, for the member alone; say the password once more. Whoever asked for it."""
    member = members.get(current_session(), member_or_me(member_id))
    if member.id != principal().id:
        raise Problem(403, "members_only", "본인만 내려받을 수 있습니다.", "Only the member may download it.")
    data = exports.download(current_session(), member, export_id, said["password"], caller_address())
    answer = Response(data, content_type=ZIP, headers={"Cache-Control": "no-store"})
    answer.headers["Content-Disposition"] = f'attachment; filename="smartfit-{export_id}.zip"'
    return answer


@blp.delete("/members/<member_id>/exports/<export_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.response(204)
def delete_export(member_id: str, export_id: str) -> None:
    """Delete an export, or take the request back."""
    exports.remove(current_session(), member_or_me(member_id), export_id, principal().id)
