"""Requests and answers of the monitoring domain."""

import base64
import binascii
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from platform_api.core import clock, schemas
from platform_api.core.schemas import ID, PageQuery, Strict, page_of
from platform_api.monitoring.states import SEVERITIES, STATES

KINDS = (
    "treadmill", "bike", "elliptical", "rower", "stepper", "strength", "shower", "sauna", "washer", "dryer", "locker",
    "gate", "kiosk", "camera", "hvac", "lighting", "network", "defibrillator", "other",
)  # fmt: skip
_NAME = validate.Length(min=1, max=100)
_TEXT = [validate.Length(min=1, max=500), validate.Regexp(r"\A[^\x00]*\Z", error="No NUL.")]
_PRINTABLE = [_NAME, validate.Regexp(r"\A[^\x00-\x1f\x7f]+\Z", error="No control characters.")]
_INTERVAL = {
    "description": "Seconds between the heartbeat lines of the item; a line later than this and the grace is missed."
}


class Key(fields.Field[bytes]):
    """32 bytes as standard base64."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes:
        try:
            raw = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise ValidationError("Not base64.") from error
        if len(raw) != 32:
            raise ValidationError("Not 32 bytes.")
        return raw

    def _serialize(self, value: bytes | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else base64.b64encode(value).decode()


class Moment(schemas.Moment):
    """A time with its offset, between 2000 and 2100."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        found = super()._deserialize(value, attr, data, **kwargs)
        if not 2000 <= found.year < 2100:
            raise ValidationError("Not between 2000 and 2100.")
        return found


# --- equipment


class EquipmentChange(Strict):
    """PATCH /equipment/{id}: any of these."""

    name = fields.String(validate=_PRINTABLE)
    kind = fields.String(validate=validate.OneOf(KINDS))
    severity = fields.String(
        validate=validate.OneOf(SEVERITIES), metadata={"description": "How bad it is when this item is silent."}
    )
    echo_url = fields.String(
        allow_none=True, validate=validate.Length(min=1, max=500),
        metadata={"description": "https URL that answers an echo; null: the item is watched by its heartbeats alone."},
    )  # fmt: skip
    heartbeat_interval_s = fields.Integer(strict=True, validate=validate.Range(10, 86_400), metadata=_INTERVAL)


class NewEquipment(EquipmentChange):
    """POST /equipment."""

    branch_id = fields.String(required=True, validate=ID)
    name = fields.String(required=True, validate=_PRINTABLE)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    severity = fields.String(load_default="major", validate=validate.OneOf(SEVERITIES))
    echo_url = fields.String(allow_none=True, load_default=None, validate=validate.Length(min=1, max=500))
    heartbeat_interval_s = fields.Integer(
        load_default=600, strict=True, validate=validate.Range(10, 86_400), metadata=_INTERVAL
    )


class CauseSchema(Schema):
    """Why an item is not well."""

    reason = fields.String()
    since = fields.AwareDateTime()
    severity = fields.String()
    detail = fields.String(allow_none=True)


class EquipmentSchema(Schema):
    """An item and its present state. The ETag is of its description, not of its state."""

    equipment_id = fields.String()
    branch_id = fields.String()
    name = fields.String()
    kind = fields.String()
    severity = fields.String()
    echo_url = fields.String(allow_none=True)
    heartbeat_interval_s = fields.Integer()
    key_id = fields.String(allow_none=True, metadata={"description": "Of the present key; null: no key was issued."})
    created_at = fields.AwareDateTime()
    retired_at = fields.AwareDateTime(allow_none=True)
    state = fields.String(validate=validate.OneOf(STATES))
    since = fields.AwareDateTime(metadata={"description": "Since when it is in this state."})
    causes = fields.List(fields.Nested(CauseSchema))
    last_echo_at = fields.AwareDateTime(allow_none=True, metadata={"description": "To within half a minute."})
    last_rtt_ms = fields.Float(allow_none=True)
    loss = fields.Float(metadata={"description": "Share of echoes lost while it was well."})
    last_heartbeat_at = fields.AwareDateTime(allow_none=True)
    heartbeat_due_at = fields.AwareDateTime(allow_none=True)
    firmware = fields.String(allow_none=True)


class EquipmentQuery(PageQuery):
    """Which items."""

    branch_id = fields.String(load_default=None, validate=ID)
    kind = fields.String(load_default=None, validate=validate.OneOf(KINDS))
    state = fields.String(load_default=None, validate=validate.OneOf(STATES))
    retired = fields.Boolean(load_default=False, metadata={"description": "Retired ones too."})


class KeyRequest(Strict):
    """POST /equipment/{id}/key."""

    public_key = Key(
        allow_none=True, load_default=None,
        metadata={"description": "Raw Ed25519 public key, base64, of a pair the item made itself; null: a pair is made here."},
    )  # fmt: skip


class IssuedKey(Schema):
    """A key. `private_key` is shown this once, and is not kept."""

    equipment_id = fields.String()
    key_id = fields.String()
    public_key = Key()
    private_key = fields.String(allow_none=True)


class StateChangeSchema(Schema):
    """A line of history."""

    position = fields.Integer()
    at = fields.AwareDateTime()
    before = fields.String()
    state = fields.String()
    reason = fields.String(allow_none=True)
    detail = fields.String(allow_none=True)
    fault_id = fields.String(allow_none=True)


class AuditSchema(Schema):
    """Who did what."""

    at = fields.AwareDateTime()
    actor = fields.String()
    action = fields.String()
    details = fields.Dict()


# --- maintenance


class WindowChange(Strict):
    """PATCH /maintenance-windows/{id}: any of these."""

    starts_at = Moment()
    ends_at = Moment()
    reason = fields.String(validate=_TEXT)


class NewWindow(Strict):
    """POST /maintenance-windows: of an item, or of a whole branch."""

    branch_id = fields.String(load_default=None, validate=ID)
    equipment_id = fields.String(load_default=None, validate=ID)
    starts_at = Moment(load_default=None, metadata={"description": "Left out: now."})
    ends_at = Moment(required=True)
    reason = fields.String(required=True, validate=_TEXT)

    @validates_schema
    def _of_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data["branch_id"] and not data["equipment_id"]:
            raise ValidationError("Name a branch or an item.", "branch_id")

    @post_load
    def _now(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "starts_at": data["starts_at"] or clock.now()}


class WindowSchema(Schema):
    """A maintenance window."""

    window_id = fields.String()
    branch_id = fields.String()
    equipment_id = fields.String(allow_none=True)
    starts_at = fields.AwareDateTime()
    ends_at = fields.AwareDateTime()
    reason = fields.String()
    created_by = fields.String()
    created_at = fields.AwareDateTime()


class WindowQuery(PageQuery):
    """Which windows."""

    branch_id = fields.String(load_default=None, validate=ID)
    equipment_id = fields.String(load_default=None, validate=ID)
    past = fields.Boolean(load_default=False)


# --- faults


class FaultSchema(Schema):
    """A fault, open while `closed_at` is null."""

    fault_id = fields.String()
    equipment_id = fields.String()
    branch_id = fields.String()
    reason = fields.String()
    severity = fields.String()
    detail = fields.String(allow_none=True)
    since = fields.AwareDateTime()
    detected_at = fields.AwareDateTime()
    closed_at = fields.AwareDateTime(allow_none=True)
    resolution = fields.String(allow_none=True)
    acknowledged_at = fields.AwareDateTime(allow_none=True)
    acknowledged_by = fields.String(allow_none=True)
    note = fields.String(allow_none=True)


class FaultQuery(PageQuery):
    """Which faults."""

    branch_id = fields.String(load_default=None, validate=ID)
    equipment_id = fields.String(load_default=None, validate=ID)
    open = fields.Boolean(load_default=None)
    acknowledged = fields.Boolean(load_default=None)


class Acknowledgement(Strict):
    """POST /faults/{id}/acknowledge."""

    note = fields.String(allow_none=True, load_default=None, validate=_TEXT)


class OverviewQuery(PageQuery):
    """Which branches."""

    branch_id = fields.String(load_default=None, validate=ID)


class OverviewSchema(Schema):
    """The fleet of a branch."""

    branch_id = fields.String()
    name = fields.String()
    status = fields.String()
    equipment = fields.Integer()
    by_state = fields.Dict(keys=fields.String(), values=fields.Integer())
    open_faults = fields.Integer()
    unacknowledged = fields.Integer()
    critical = fields.Integer()
    oldest_open_since = fields.AwareDateTime(allow_none=True)


class ModelChangeQuery(PageQuery):
    """Which model."""

    model = fields.String(load_default=None, validate=ID)


class ModelChangeSchema(Schema):
    """A model was trained, deployed or rolled back."""

    model = fields.String()
    change = fields.String()
    model_version = fields.String()
    previous_version = fields.String(allow_none=True)
    metrics = fields.Dict(keys=fields.String(), values=fields.Float())
    by = fields.String(allow_none=True)
    at = fields.AwareDateTime()


EquipmentPage = page_of(EquipmentSchema, "EquipmentPage")
HistoryPage = page_of(StateChangeSchema, "EquipmentHistoryPage")
TrailPage = page_of(AuditSchema, "EquipmentAuditPage")
WindowPage = page_of(WindowSchema, "MaintenanceWindowPage")
FaultPage = page_of(FaultSchema, "FaultPage")
OverviewPage = page_of(OverviewSchema, "EquipmentOverviewPage")
ModelChangePage = page_of(ModelChangeSchema, "ModelChangePage")
