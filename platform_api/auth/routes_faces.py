"""HTTP of faces: enrolment, review of held ones, and the internal route for templates."""

from __future__ import annotations

import base64
from typing import Any

from platform_api.auth import face_reviews, faces, galleries, members, templates
from platform_api.auth import schemas_faces as schemas
from platform_api.auth.access_rules import member_or_me
from platform_api.auth.models import FaceReview, FaceTemplate, is_id
from platform_api.auth.settings import settings
from platform_api.auth.turnstile import enrolments
from platform_api.core.errors import Problem
from platform_api.core.schemas import PEOPLE
from platform_api.core.security import principal, require
from platform_api.core.uploads import body_up_to, in_memory_upload, uploaded
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("auth-faces", "/auth/v1", "Faces: enrolment, withdrawal, review")
internal = blueprint("auth-internal", "/auth/internal/v1", "For services only; the gateway does not route it")
blueprints = [blp, internal]

MAX_TEMPLATES_BYTES = 2 * 2**20
PHOTOS = {
    "type": "object",
    "required": ["photos"],
    "properties": {"photos": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
}

PHOTO = {
    **PHOTOS,
    "properties": {
        "photos": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": 1}
    },
}


@blp.post("/members/<member_id>/face")
@require(*PEOPLE)
@enrolments
@in_memory_upload(lambda: settings().face_request_max_bytes)
@transaction("auth", idempotent=True)
@blp.response(201, schemas.EnrolmentSchema)
@blp.alt_response(202, schema=schemas.EnrolmentSchema, description="Held until an operator has looked at it.")
@blp.doc(requestBody={"required": True, "content": {"multipart/form-data": {"schema": PHOTOS}}})
def enrol(member_id: str) -> tuple[faces.Enrolment, int]:
    """Enrol a face from one to five photos (multipart parts `photos`)."""
    done = faces.enrol(current_session(), member_or_me(member_id), uploaded("photos"), principal().id)
    return done, 201 if done.status == "enrolled" else 202


@blp.post("/members/<member_id>/face/checks")
@require(*PEOPLE)
@enrolments
@in_memory_upload(lambda: settings().face_request_max_bytes)
@transaction("auth")
@blp.response(200, schemas.VerdictSchema)
@blp.doc(requestBody={"required": True, "content": {"multipart/form-data": {"schema": PHOTO}}})
def check(member_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Whether one photo (multipart part `photos`) would serve for an enrolment, told at once; nothing of it is kept."""
    verdict = faces.check_photo(current_session(), member_or_me(member_id), uploaded("photos"))
    return verdict.to_dict(), 200, {"Cache-Control": "no-store"}


@blp.get("/members/<member_id>/face")
@require(*PEOPLE)
@transaction("auth")
@blp.response(200, schemas.FaceStateSchema)
def show(member_id: str) -> faces.FaceState:
    """What is held of the member's face."""
    return faces.state(current_session(), members.get(current_session(), member_or_me(member_id)).id)


@blp.delete("/members/<member_id>/face")
@require(*PEOPLE)
@transaction("auth")
@blp.response(204)
def withdraw(member_id: str) -> None:
    """Withdraw the face: template, crops and every copy."""
    faces.remove(current_session(), member_or_me(member_id), principal().id)


@blp.get("/face-reviews")
@require("operator")
@transaction("auth")
@blp.arguments(schemas.ReviewQuery, location="query")
@blp.response(200, schemas.ReviewPage)
def list_reviews(query: dict[str, Any]) -> dict[str, Any]:
    """Enrolments held for looking like another member, newest first."""
    items, cursor = face_reviews.find(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/face-reviews/<review_id>/photos")
@require("operator")
@transaction("auth")
@blp.response(200, schemas.ReviewPhotosSchema)
def review_photos(review_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The crops to compare, as base64 JPEG; looking is audited."""
    review = face_reviews.get(current_session(), review_id)
    shown = face_reviews.pictures(current_session(), review, principal().id)
    return shown, 200, {"Cache-Control": "no-store"}


@blp.post("/face-reviews/<review_id>/decision")
@require("operator")
@transaction("auth", idempotent=True)
@blp.arguments(schemas.FaceDecisionSchema)
@blp.response(200, schemas.FaceReviewSchema)
def decide(said: dict[str, Any], review_id: str) -> FaceReview:
    """Approve or reject a held enrolment."""
    approve = said["decision"] == "approve"
    return face_reviews.decide(current_session(), review_id, approve, said["note"], principal().id)


@internal.get("/templates/<template_id>")
@require("service")
@transaction("auth")
@internal.response(200, schemas.TemplateSchema)
def template(template_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """An enrolled template, for the gallery."""
    found = current_session().get(FaceTemplate, template_id) if is_id(template_id) else None
    if found is None or found.status != "enrolled":
        raise Problem(404)
    vectors = templates.opened(found).astype("<f4").tobytes()
    answer = {
        "template_id": found.id,
        "member_id": found.member_id,
        "model_version": found.model_version,
        "rows": found.rows,
        "vectors": base64.b64encode(vectors).decode(),
    }
    return answer, 200, {"Cache-Control": "no-store"}


@internal.post("/galleries/<version>/templates")
@require("service")
@body_up_to(MAX_TEMPLATES_BYTES)
@transaction("auth", idempotent=True)
@internal.arguments(schemas.GalleryTemplates)
@internal.response(200, schemas.GalleryReceipt)
def keep_templates(said: dict[str, Any], version: str) -> dict[str, int]:
    """Keep enrolled faces under another model, as far as the enrolments they were made from still stand."""
    kept, gone = galleries.keep(current_session(), version, said["templates"], principal().id)
    return {"kept": kept, "gone": gone}


@internal.get("/galleries/<version>")
@require("service")
@transaction("auth")
@internal.arguments(schemas.GalleryQuery, location="query")
@internal.response(200, schemas.GalleryPage)
def gallery(query: dict[str, Any], version: str) -> dict[str, Any]:
    """The enrolments whose face the gallery of a model has."""
    items, after = galleries.listed(current_session(), version, query["after"], query["limit"])
    return {"items": items, "next": after}
