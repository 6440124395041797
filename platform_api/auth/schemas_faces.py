"""Requests and answers about faces."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from marshmallow import Schema, ValidationError, fields, post_load, validate

from platform_api.core.schemas import PageQuery, Strict, page_of

MOST_TEMPLATES = 200
_UUID = validate.Regexp(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class ReviewQuery(PageQuery):
    """GET /face-reviews."""

    status = fields.String(load_default="pending", validate=validate.OneOf(("pending", "approved", "rejected")))


class FaceStateSchema(Schema):
    """GET /members/{id}/face."""

    status = fields.String(metadata={"description": "none, enrolled or held_for_review"})
    consent = fields.Boolean()
    held = fields.Boolean(metadata={"description": "A newer enrolment waits for review."})
    template_id = fields.String(allow_none=True)
    model_version = fields.String(allow_none=True)
    enrolled_at = fields.AwareDateTime(allow_none=True)
    photos = fields.Integer()


class VerdictSchema(Schema):
    """What became of one photo."""

    index = fields.Integer()
    accepted = fields.Boolean()
    reasons = fields.List(fields.String())
    message = fields.String()
    message_en = fields.String()
    quality = fields.Dict(keys=fields.String(), values=fields.Float())


class EnrolmentSchema(Schema):
    """POST /members/{id}/face: 201 enrolled, 202 held_for_review."""

    status = fields.String()
    template_id = fields.String()
    model_version = fields.String()
    photos = fields.List(fields.Nested(VerdictSchema), attribute="verdicts")


class LookalikeSchema(Schema):
    """A member whose face looks the same."""

    member_id = fields.String()
    score = fields.Float()


class FaceReviewSchema(Schema):
    """A held enrolment."""

    review_id = fields.String(attribute="id")
    member_id = fields.String()
    status = fields.String()
    created_at = fields.AwareDateTime()
    decided_at = fields.AwareDateTime(allow_none=True)
    decided_by = fields.String(allow_none=True)
    note = fields.String(allow_none=True)
    candidates = fields.List(fields.Nested(LookalikeSchema))


class CropsOfSchema(Schema):
    """Crops of a member."""

    member_id = fields.String()
    photos = fields.List(fields.String(metadata={"format": "byte"}))


class ReviewPhotosSchema(Schema):
    """GET /face-reviews/{id}/photos: base64 JPEG."""

    review_id = fields.String()
    held = fields.List(fields.String(metadata={"format": "byte"}))
    candidates = fields.List(fields.Nested(CropsOfSchema))


class FaceDecisionSchema(Strict):
    """POST /face-reviews/{id}/decision."""

    decision = fields.String(required=True, validate=validate.OneOf(("approve", "reject")))
    note = fields.String(load_default=None, validate=validate.Length(max=500))


class TemplateSchema(Schema):
    """A template, for services. vectors: base64 of little-endian float32 [rows * dim]."""

    template_id = fields.String()
    member_id = fields.String()
    model_version = fields.String()
    rows = fields.Integer()
    vectors = fields.String()


class GalleryTemplate(Strict):
    """A face under another model. vectors: base64 of little-endian float32 [rows * dim]."""

    source_template_id = fields.String(required=True, validate=_UUID)
    member_id = fields.String(required=True, validate=_UUID)
    rows = fields.Integer(required=True, strict=True, validate=validate.Range(1, 64))
    vectors = fields.String(required=True, validate=validate.Length(min=8, max=2**17))

    @post_load
    def unpack(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """vectors become float32 [rows, dim]."""
        rows = data.pop("rows")
        try:
            flat = np.frombuffer(base64.b64decode(data["vectors"], validate=True), "<f4")
            if flat.size == 0 or flat.size % rows or not np.isfinite(flat).all():
                raise ValueError("not so many finite numbers")
        except (ValueError, binascii.Error) as error:
            raise ValidationError(f"Not base64 of little-endian float32 in {rows} rows.", "vectors") from error
        return {**data, "vectors": flat.reshape(rows, -1).astype(np.float32)}


class GalleryTemplates(Strict):
    """POST /auth/internal/v1/galleries/{version}/templates."""

    templates = fields.List(
        fields.Nested(GalleryTemplate), required=True, validate=validate.Length(min=1, max=MOST_TEMPLATES)
    )


class GalleryReceipt(Schema):
    """gone: enrolments that no longer stand; their templates were not kept."""

    kept = fields.Integer()
    gone = fields.Integer()


class GalleryQuery(Strict):
    """GET /auth/internal/v1/galleries/{version}."""

    after = fields.String(load_default=None, validate=_UUID)
    limit = fields.Integer(load_default=1000, validate=validate.Range(1, 5000))


class GalleryPage(Schema):
    """Ids of enrolments; `next` goes into `after`."""

    items = fields.List(fields.String())
    next = fields.String(allow_none=True)


ReviewPage = page_of(FaceReviewSchema, "ReviewPage")
