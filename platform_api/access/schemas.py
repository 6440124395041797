"""Requests and answers of the access domain. Unknown fields are refused, so that nobody sets what is not theirs to set."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from platform_api.access.models import BLOCK_REASONS, EVERY_BRANCH, MODES
from platform_api.core.schemas import ID, Moment, PageQuery, Strict, Truth, page_of

ACCESS_TIMES = {"description": 'Weekly hours, {"mon": [["06:00", "23:00"]]}; null: around the clock.'}
_TEXT = validate.Length(min=1, max=100)
_REASON = validate.Length(min=1, max=500)


# --- branches


class BranchChange(Strict):
    """PUT /branches/{id}."""

    name = fields.String(required=True, validate=_TEXT)
    timezone = fields.String(load_default="Asia/Seoul", validate=validate.Length(max=64))
    hours = fields.Dict(keys=fields.String(), allow_none=True, load_default=None, metadata=ACCESS_TIMES)
    capacity = fields.Integer(
        allow_none=True, load_default=None, strict=True, validate=validate.Range(0, 100_000),
        metadata={"description": "Most people inside at once; null: no limit."},
    )  # fmt: skip


class BranchSchema(Schema):
    """A branch, as the gates know it."""

    branch_id = fields.String()
    name = fields.String()
    timezone = fields.String()
    hours = fields.Raw(allow_none=True)
    capacity = fields.Integer(allow_none=True)
    mode = fields.String()
    mode_since = fields.AwareDateTime()
    version = fields.Integer()


class ModeChange(Strict):
    """POST /branches/{id}/mode."""

    mode = fields.String(required=True, validate=validate.OneOf(MODES))
    reason = fields.String(required=True, validate=_REASON)


class OccupancySchema(Schema):
    """How many are in a branch now."""

    branch_id = fields.String()
    inside = fields.Integer()
    capacity = fields.Integer(allow_none=True)
    full = fields.Boolean()
    as_of = fields.AwareDateTime()


# --- memberships


class BranchIds(fields.List[str]):
    """Branches of a membership: ids, or "*" for all; at least one, each once, sorted."""

    def __init__(self, **options: Any) -> None:
        branch = fields.String(validate=[lambda value: value == EVERY_BRANCH or ID(value)])
        super().__init__(branch, validate=validate.Length(min=1, max=500), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return sorted(set(super()._deserialize(value, attr, data, **kwargs)))


class MembershipChange(Strict):
    """PATCH /memberships/{id}: any of these. Days are both included and count by the branch's calendar."""

    plan = fields.String(validate=_TEXT)
    valid_from = fields.Date()
    valid_until = fields.Date(allow_none=True, metadata={"description": "null: until further notice."})
    branch_ids = BranchIds()
    hours = fields.Dict(keys=fields.String(), allow_none=True, metadata=ACCESS_TIMES)


class NewMembership(Strict):
    """POST /memberships."""

    member_id = fields.String(required=True, validate=ID)
    plan = fields.String(required=True, validate=_TEXT)
    valid_from = fields.Date(required=True)
    valid_until = fields.Date(required=True, allow_none=True)
    branch_ids = BranchIds(required=True)
    hours = fields.Dict(keys=fields.String(), allow_none=True, load_default=None, metadata=ACCESS_TIMES)


class FreezeSchema(Strict):
    """Days on which a membership rests, both included."""

    start = fields.Date(data_key="from", required=True)
    end = fields.Date(data_key="until", required=True)


class BlockSchema(Strict):
    """POST /memberships/{id}/block; null lifts the block."""

    reason = fields.String(required=True, allow_none=True, validate=validate.OneOf(BLOCK_REASONS))


class MembershipSchema(Schema):
    """A membership."""

    membership_id = fields.String()
    member_id = fields.String()
    plan = fields.String()
    valid_from = fields.Date()
    valid_until = fields.Date(allow_none=True)
    branch_ids = fields.List(fields.String())
    hours = fields.Raw(allow_none=True)
    freezes = fields.Raw()
    blocked = fields.String(allow_none=True)
    version = fields.Integer()
    created_at = fields.AwareDateTime()


class MembershipQuery(Strict):
    """GET /memberships."""

    member_id = fields.String(load_default=None, validate=ID, metadata={"description": "Yourself where left out."})


MembershipPage = page_of(MembershipSchema, "MembershipPage")
BranchPage = page_of(BranchSchema, "BranchPage")


# --- QR passes, models


class PassRequest(Strict):
    """POST /qr-passes."""

    branch_id = fields.String(required=True, validate=ID)


class PassQuery(Strict):
    """How the pass is wanted."""

    format = fields.String(load_default="json", validate=validate.OneOf(("json", "png", "svg")))


class PassSchema(Schema):
    """A pass, to be shown as a QR code at the gate."""

    token = fields.String()
    branch_id = fields.String()
    expires_at = fields.AwareDateTime()


class QrKeySchema(Schema):
    """A new key of passes, and when it begins to sign."""

    kid = fields.String()
    active_from = fields.AwareDateTime()


class ModelChange(Strict):
    """PUT /models/{version}."""

    live = Truth(required=True)
    thresholds = fields.Dict(keys=fields.String(), allow_none=True, load_default=None)
    incomplete = Truth(
        load_default=False,
        metadata={"description": "Edges may take it though members of the present gallery are missing in its own."},
    )


class ModelSchema(Schema):
    """A face model that edges may run."""

    version = fields.String()
    stage = fields.String(metadata={"description": "candidate, shadow, canary, live, former or retired"})
    place = fields.String(allow_none=True, metadata={"description": "The edge at which a canary serves."})
    live = fields.Boolean()
    incomplete = fields.Boolean()
    dim = fields.Integer(allow_none=True)
    thresholds = fields.Raw(allow_none=True)
    created_at = fields.AwareDateTime()


ModelPage = page_of(ModelSchema, "ModelPage")


# --- entries, strangers


class EntryQuery(PageQuery):
    """GET /entries."""

    since = Moment(data_key="from", load_default=None)
    until = Moment(data_key="to", load_default=None, metadata={"description": "Not included."})
    member_id = fields.String(load_default=None, validate=ID)
    branch_id = fields.String(load_default=None, validate=ID)
    outcome = fields.String(load_default=None, validate=validate.OneOf(("granted", "denied")))


class EntryRecord(Schema):
    """A line of the access log."""

    entry_id = fields.String()
    branch_id = fields.String()
    gate_id = fields.String()
    at = fields.AwareDateTime()
    method = fields.String()
    direction = fields.String()
    outcome = fields.String()
    reason = fields.String()
    member_id = fields.String(allow_none=True)
    gate_result = fields.String(allow_none=True)


EntryPage = page_of(EntryRecord, "EntryPage")


class StrangerQuery(PageQuery):
    """GET /strangers."""

    branch_id = fields.String(load_default=None, validate=ID)
    undecided = fields.Boolean(load_default=False)


class StrangerSchema(Schema):
    """A frame of somebody refused."""

    stranger_id = fields.String()
    entry_id = fields.String()
    branch_id = fields.String()
    gate_id = fields.String()
    at = fields.AwareDateTime()
    expires_at = fields.AwareDateTime()
    decision = fields.String(allow_none=True)
    member_id = fields.String(allow_none=True)
    note = fields.String(allow_none=True)
    decided_by = fields.String(allow_none=True)
    decided_at = fields.AwareDateTime(allow_none=True)


StrangerPage = page_of(StrangerSchema, "StrangerPage")


class DecisionSchema(Strict):
    """POST /strangers/{id}/decision."""

    decision = fields.String(required=True, validate=validate.OneOf(("member", "stranger", "dismissed")))
    member_id = fields.String(load_default=None, allow_none=True, validate=ID)
    note = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=500))

    @validates_schema
    def check_together(self, data: dict[str, Any], **_: Any) -> None:
        """A member is named with the decision that it is one, and only then."""
        if (data["decision"] == "member") != (data["member_id"] is not None):
            raise ValidationError("Give member_id with the decision 'member', and only then.", "member_id")
