"""Requests and answers about tasks and their limits."""

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import ID, PageQuery, Strict, page_of
from platform_api.helper.photos import MOST
from platform_api.helper.states import STATES

KIND = validate.Regexp(r"^[a-z][a-z0-9_]{0,31}\Z", error="Not a kind of work.")

PHOTOS = {
    "type": "object",
    "required": ["branch_id", "kind", "photos"],
    "properties": {
        "branch_id": {"type": "string", "maxLength": 64},
        "kind": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 32},
        "note": {"type": "string", "maxLength": 500},
        "redo_of": {"type": "string", "maxLength": 64, "description": "A task of yours that was sent back."},
        "photos": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "minItems": 1,
            "maxItems": MOST,
            "description": "JPEG, PNG or WebP.",
        },
    },
}


class NewTask(Strict):
    """POST /tasks, the fields of the form beside its parts `photos`."""

    branch_id = fields.String(required=True, validate=ID)
    kind = fields.String(required=True, validate=KIND)
    note = fields.String(load_default=None, validate=validate.Length(max=500))
    redo_of = fields.String(load_default=None, validate=ID)


class TaskPhotoSchema(Schema):
    """A photo of a task."""

    photo_id = fields.String()
    width = fields.Integer()
    height = fields.Integer()
    verdict = fields.String(allow_none=True)
    confidence = fields.Float(allow_none=True)
    reason = fields.String(allow_none=True)
    label = fields.String(allow_none=True)


class TaskSchema(Schema):
    """A task."""

    task_id = fields.String()
    branch_id = fields.String()
    helper_id = fields.String(allow_none=True)
    kind = fields.String()
    note = fields.String(allow_none=True)
    redo_of = fields.String(allow_none=True)
    day = fields.Date(metadata={"description": "Day of the branch's calendar whose limits it counts in."})
    state = fields.String(validate=validate.OneOf(STATES))
    reward_won = fields.Integer(metadata={"description": "Paid once the work is found done."})
    submitted_at = fields.AwareDateTime()
    verdict = fields.String(allow_none=True)
    confidence = fields.Float(allow_none=True)
    model_version = fields.String(allow_none=True)
    judged_at = fields.AwareDateTime(allow_none=True)
    label = fields.String(allow_none=True)
    corrected = fields.Boolean(allow_none=True)
    decided_at = fields.AwareDateTime(allow_none=True)
    reason = fields.String(allow_none=True, metadata={"description": "Why it was corrected or sent back."})
    expired_at = fields.AwareDateTime(allow_none=True)
    photos = fields.List(fields.Nested(TaskPhotoSchema))


TaskPage = page_of(TaskSchema, "TaskPage")


class TaskQuery(PageQuery):
    """Which tasks."""

    branch_id = fields.String(load_default=None, validate=ID)
    helper_id = fields.String(load_default=None, validate=ID, metadata={"description": "For operators."})
    state = fields.String(load_default=None, validate=validate.OneOf(STATES))


class AllowanceQuery(Strict):
    """Where."""

    branch_id = fields.String(required=True, validate=ID)


class AllowanceSchema(Schema):
    """One daily limit as it stands."""

    scope = fields.String(validate=validate.OneOf(("helper", "branch")))
    limit = fields.Integer()
    used = fields.Integer()
    left = fields.Integer()
    day = fields.Date()


class AllowancesSchema(Schema):
    """Both."""

    items = fields.List(fields.Nested(AllowanceSchema))


class LimitsChange(Strict):
    """PUT /branches/{id}/limits. null: the chain's."""

    helper_daily_limit = fields.Integer(required=True, allow_none=True, strict=True, validate=validate.Range(0, 10_000))
    branch_daily_limit = fields.Integer(
        required=True, allow_none=True, strict=True, validate=validate.Range(0, 100_000)
    )


class LimitsSchema(Schema):
    """A branch's own limits."""

    branch_id = fields.String()
    helper_daily_limit = fields.Integer(allow_none=True)
    branch_daily_limit = fields.Integer(allow_none=True)
