"""Requests and answers about faces."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import PageQuery, Strict, page_of


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


ReviewPage = page_of(FaceReviewSchema, "ReviewPage")
