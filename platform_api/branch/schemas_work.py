"""Requests and answers about what managers work with: the queue, reviews, faults, preference data."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from platform_api.branch import queue
from platform_api.core.schemas import ID, PageQuery, Strict, page_of

LABELS = ("done", "not_done")
VERDICTS = (*LABELS, "unclear")


class JudgedPhotoSchema(Schema):
    """A photo of a judged task."""

    photo_id = fields.String()
    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    confidence = fields.Float()
    reason = fields.String(allow_none=True)
    label = fields.String(allow_none=True)


class JudgedTaskSchema(Schema):
    """A judged task, and what was decided about it."""

    task_id = fields.String()
    branch_id = fields.String()
    helper_id = fields.String(allow_none=True)
    kind = fields.String()
    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    confidence = fields.Float()
    model_version = fields.String(allow_none=True)
    judged_at = fields.AwareDateTime()
    score = fields.Function(
        queue.score,
        allow_none=True,
        metadata={"type": "number", "description": "Urgency in hours while it waits; see the route."},
    )
    photos = fields.List(fields.Nested(JudgedPhotoSchema))
    state = fields.String(validate=validate.OneOf(("waiting", "confirmed", "corrected", "redo", "withdrawn")))
    label = fields.String(allow_none=True)
    corrected = fields.Boolean(allow_none=True)
    reason = fields.String(allow_none=True)
    decided_by = fields.String(allow_none=True)
    decided_at = fields.AwareDateTime(allow_none=True)


JudgedTaskPage = page_of(JudgedTaskSchema, "JudgedTaskPage")


class TaskQuery(PageQuery):
    """Of which branch; left out: all of yours."""

    branch_id = fields.String(load_default=None, validate=ID)


class PhotoLabel(Strict):
    """A person's word on one photo."""

    photo_id = fields.String(required=True, validate=ID)
    label = fields.String(required=True, validate=validate.OneOf(LABELS))


class TaskDecision(Strict):
    """POST /tasks/{id}/decision."""

    decision = fields.String(required=True, validate=validate.OneOf(("confirm", "correct", "redo")))
    label = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(LABELS))
    photo_labels = fields.List(fields.Nested(PhotoLabel), load_default=list, validate=validate.Length(max=5))
    reason = fields.String(load_default=None, allow_none=True, validate=validate.Length(min=1, max=500))

    @validates_schema
    def check_once(self, data: dict[str, Any], **_: Any) -> None:
        """No photo is labelled twice."""
        named = [item["photo_id"] for item in data["photo_labels"]]
        if len(named) != len(set(named)):
            raise ValidationError("A photo is named twice.", "photo_labels")


class BranchReviewSchema(Schema):
    """A review of your branch."""

    review_id = fields.String()
    branch_id = fields.String()
    member_id = fields.String(allow_none=True)
    rating = fields.Integer()
    text = fields.String(attribute="body")
    language = fields.String()
    state = fields.String()
    posted_at = fields.AwareDateTime()


BranchReviewPage = page_of(BranchReviewSchema, "BranchReviewPage")


class ReviewQuery(PageQuery):
    """Which reviews."""

    rating = fields.Integer(load_default=None, validate=validate.Range(1, 5))


class ReviewSummary(Schema):
    """Reviews in figures."""

    reviews = fields.Integer()
    mean = fields.Float(allow_none=True)
    by_rating = fields.Dict(keys=fields.String(), values=fields.Integer())


class BranchFaultSchema(Schema):
    """A fault of equipment in your branch."""

    fault_id = fields.String()
    equipment_id = fields.String()
    branch_id = fields.String()
    name = fields.String()
    kind = fields.String()
    reason = fields.String(allow_none=True)
    severity = fields.String(allow_none=True)
    since = fields.AwareDateTime()
    recovered_at = fields.AwareDateTime(allow_none=True)


BranchFaultPage = page_of(BranchFaultSchema, "BranchFaultPage")


class FaultQuery(PageQuery):
    """Which faults."""

    open_only = fields.Boolean(load_default=False)


class PreferenceSchema(Schema):
    """What kind of place a branch was found to be."""

    branch_id = fields.String()
    traits = fields.Dict(keys=fields.String(), values=fields.Float())
    visits = fields.Integer()
    reviews = fields.Integer()
    regulars = fields.Integer()
    version = fields.Integer()
    computed_by = fields.String()
    computed_at = fields.AwareDateTime()


PreferencePage = page_of(PreferenceSchema, "BranchPreferencePage")
