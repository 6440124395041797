"""Requests and answers of reviews and their moderation."""

import unicodedata
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from platform_api.core.schemas import ID, PageQuery, Strict, page_of
from platform_api.search.models import REPORT_REASONS
from platform_api.search.reviews import LONGEST


class Prose(fields.String):
    """Text that a person writes: trimmed, without control characters, not empty; one Unicode form (NFC)."""

    def __init__(self, longest: int, **options: Any) -> None:
        super().__init__(validate=validate.Length(min=1, max=longest), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = unicodedata.normalize("NFC", super()._deserialize(value, attr, data, **kwargs))
        kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cn"))
        return "".join(kept).strip()


_RATING = validate.Range(1, 5)


class NewReview(Strict):
    """POST /branches/{id}/reviews."""

    rating = fields.Integer(required=True, strict=True, validate=_RATING)
    text = Prose(LONGEST, required=True)


class ReviewChange(Strict):
    """PATCH /reviews/{id}: either or both."""

    rating = fields.Integer(strict=True, validate=_RATING)
    text = Prose(LONGEST)

    @validates_schema
    def _something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Nothing to change.")


class ReviewSchema(Schema):
    """A review. Its author is not named; `mine` says whether it is yours."""

    review_id = fields.String()
    branch_id = fields.String()
    rating = fields.Integer()
    text = fields.String()
    language = fields.String()
    state = fields.String()
    mine = fields.Boolean()
    version = fields.Integer()
    created_at = fields.AwareDateTime()
    edited_at = fields.AwareDateTime(allow_none=True)


class ReportedSchema(ReviewSchema):
    """A review as an operator sees it."""

    member_id = fields.String()
    open_reports = fields.Integer()
    reported_at = fields.AwareDateTime(allow_none=True)


class NewReport(Strict):
    """POST /reviews/{id}/reports."""

    reason = fields.String(required=True, validate=validate.OneOf(REPORT_REASONS))
    text = Prose(500, load_default=None, allow_none=True)


class ReportSchema(Schema):
    """A complaint about a review."""

    report_id = fields.String()
    review_id = fields.String()
    reason = fields.String()
    text = fields.String(allow_none=True)
    created_at = fields.AwareDateTime()
    decided_at = fields.AwareDateTime(allow_none=True)


class ReportList(Schema):
    """All reports of a review."""

    items = fields.List(fields.Nested(ReportSchema))


class Decision(Strict):
    """POST /moderation/reviews/{id}/decision."""

    decision = fields.String(required=True, validate=validate.OneOf(("keep", "remove")))
    note = Prose(500, load_default=None, allow_none=True)


class MyReviewsQuery(PageQuery):
    """GET /reviews."""

    member_id = fields.String(load_default=None, validate=ID, metadata={"description": "Yourself where left out."})


ReviewPage = page_of(ReviewSchema, "ReviewPage")
ReportedPage = page_of(ReportedSchema, "ReportedPage")
