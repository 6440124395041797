"""What edge nodes, their gates, and other services send and get."""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar

import numpy as np
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from platform_api.core.schemas import ID, Moment, Strict, page_of

MAX_VECTORS = 64 * 1024
DIRECTIONS = ("in", "out", "both")


class Base64(fields.Field[bytes]):
    """Bytes as standard base64."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise ValidationError("Not base64.") from error

    def _serialize(self, value: bytes | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else base64.b64encode(value).decode()


# --- nodes and gates


class NewEdge(Strict):
    """POST /edges."""

    branch_id = fields.String(required=True, validate=ID)
    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    public_key = Base64(required=True, metadata={"description": "Raw Ed25519 public key, 32 bytes, base64."})


class EdgeSchema(Schema):
    """A node."""

    edge_id = fields.String()
    branch_id = fields.String()
    name = fields.String()
    public_key = Base64()
    created_at = fields.AwareDateTime()
    last_seen_at = fields.AwareDateTime(allow_none=True)
    revoked_at = fields.AwareDateTime(allow_none=True)


class AntiPassback(Strict):
    """Whether somebody inside may enter again."""

    mode = fields.String(load_default="off", validate=validate.OneOf(("off", "soft", "hard", "timeout")))
    minutes = fields.Float(load_default=0.0, validate=validate.Range(0, 24 * 60))

    @pre_load
    def none_is_zero(self, data: Any, **_: Any) -> Any:
        """Minutes null: 0."""
        return {k: v for k, v in data.items() if (k, v) != ("minutes", None)} if isinstance(data, dict) else data

    @validates_schema
    def check_minutes(self, data: dict[str, Any], **_: Any) -> None:
        """A timeout needs its length."""
        if data["mode"] == "timeout" and data["minutes"] <= 0:
            raise ValidationError("The mode timeout needs minutes > 0.", "minutes")


class Lockout(Strict):
    """How many misses close a gate to faces, and for how long."""

    enabled = fields.Boolean(load_default=True)
    misses = fields.Integer(load_default=5, validate=validate.Range(1, 100))
    window_s = fields.Float(load_default=60.0, validate=validate.Range(1, 3600))
    block_s = fields.Float(load_default=30.0, validate=validate.Range(1, 3600))


class GateChange(Strict):
    """PATCH /gates/{id}: any of these."""

    edge_id = fields.String(validate=ID)
    name = fields.String(validate=validate.Length(min=1, max=100))
    direction = fields.String(validate=validate.OneOf(DIRECTIONS))
    controller_url = fields.URL(schemes={"https"}, require_tld=False, validate=validate.Length(max=500))
    controller_gate_id = fields.String(validate=ID)
    liveness = fields.String(validate=validate.OneOf(("off", "passive", "passive_then_active", "active")))
    anti_passback = fields.Nested(AntiPassback)
    fail_mode = fields.String(validate=validate.OneOf(("safe", "secure")))
    lockout = fields.Nested(Lockout)
    open_seconds = fields.Float(validate=validate.Range(0, 300, min_inclusive=False))


class NewGate(GateChange):
    """POST /gates."""

    _defaults: ClassVar[dict[str, Any]] = {
        "direction": "in", "liveness": "off", "fail_mode": "secure", "open_seconds": 5.0, "anti_passback": {}, "lockout": {},
    }  # fmt: skip

    branch_id = fields.String(required=True, validate=ID)
    edge_id = fields.String(required=True, validate=ID)
    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    controller_url = fields.URL(schemes={"https"}, require_tld=False, required=True, validate=validate.Length(max=500))
    controller_gate_id = fields.String(required=True, validate=ID)

    @pre_load
    def fill(self, data: Any, **_: Any) -> Any:
        """What is left out, or null, gets its default."""
        given = {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
        return {**self._defaults, **given} if isinstance(data, dict) else data


class GateSchema(Schema):
    """A gate."""

    gate_id = fields.String()
    branch_id = fields.String()
    edge_id = fields.String()
    name = fields.String()
    direction = fields.String()
    controller_url = fields.String()
    controller_gate_id = fields.String()
    liveness = fields.String()
    anti_passback = fields.Raw()
    fail_mode = fields.String()
    lockout = fields.Raw()
    open_seconds = fields.Float()
    version = fields.Integer()


class GateWithKey(GateSchema):
    """A gate with the key of its kiosk, shown this once."""

    kiosk_key = fields.String()


class OfBranch(Strict):
    """Those of one branch only."""

    branch_id = fields.String(load_default=None, validate=ID)


EdgePage = page_of(EdgeSchema, "EdgePage")
GatePage = page_of(GateSchema, "GatePage")


# --- the feed, identification, the log


class FeedQuery(Strict):
    """Where to go on; an empty cursor starts from the whole state."""

    cursor = fields.String(load_default="", validate=validate.Length(max=500))
    limit = fields.Integer(load_default=500, validate=validate.Range(1))


class FeedPage(Schema):
    """A page of changes."""

    cursor = fields.String()
    has_more = fields.Boolean()
    now = fields.AwareDateTime()
    changes = fields.List(fields.Raw(metadata={"description": "{kind, key, op: put|delete, data}"}))


class Probe(Strict):
    """Vectors of one person: base64 of little-endian float32 [m * dim]."""

    vectors = fields.String(required=True, validate=validate.Length(min=8, max=MAX_VECTORS))
    model_version = fields.String(required=True, validate=validate.Length(min=1, max=100))
    dim = fields.Integer(load_default=128, validate=validate.Range(2, 4096))

    @post_load
    def unpack(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """vectors become float32[m, dim]."""
        dim = data.pop("dim")
        try:
            flat = np.frombuffer(base64.b64decode(data["vectors"], validate=True), "<f4")
            if flat.size == 0 or flat.size % dim or not np.isfinite(flat).all():
                raise ValueError("not so many finite numbers")
        except (ValueError, binascii.Error) as error:
            raise ValidationError(f"Not base64 of little-endian float32 [m * {dim}].", "vectors") from error
        return {**data, "vectors": flat.reshape(-1, dim).astype(np.float32)}


class ProbeOfMember(Probe):
    """As Probe; one member may be left out."""

    exclude_member_id = fields.String(load_default=None, allow_none=True, validate=ID)


class CandidateSchema(Schema):
    """A member and the score of the likeness."""

    member_id = fields.String()
    score = fields.Float()


class CandidatesSchema(Schema):
    """The likeliest members, best first, and how many members were searched."""

    candidates = fields.List(fields.Nested(CandidateSchema))
    gallery_size = fields.Integer()


class Batch(Strict):
    """POST /edge/entries."""

    entries = fields.List(fields.Raw(), required=True, validate=validate.Length(min=1))


class EntrySchema(Schema):
    """What a gate decided. Fields of a later release are passed over."""

    class Meta:
        unknown = EXCLUDE

    entry_id = fields.UUID(required=True)
    gate_id = fields.String(required=True, validate=ID)
    at = Moment(required=True)
    method = fields.String(required=True, validate=validate.OneOf(("face", "qr", "exit", "emergency", "manual")))
    direction = fields.String(required=True, validate=validate.OneOf(DIRECTIONS))
    outcome = fields.String(required=True, validate=validate.OneOf(("granted", "denied")))
    reason = fields.String(required=True, validate=validate.Regexp(r"^[a-z][a-z0-9_]{0,63}\Z"))
    member_id = fields.String(load_default=None, allow_none=True, validate=ID)
    score = fields.Float(load_default=None, allow_none=True, allow_nan=False)
    model_version = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=100))
    stages_ms = fields.Dict(
        keys=fields.String(validate=validate.Length(max=40)),
        values=fields.Float(allow_none=True, allow_nan=False),
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=32),
    )
    gate_result = fields.String(load_default=None, allow_none=True, validate=validate.Length(max=40))

    @post_load
    def plain(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The id as text."""
        return {**data, "entry_id": str(data["entry_id"])}


class Refusal(Schema):
    """An entry of the batch that was not taken, and why."""

    index = fields.Integer()
    entry_id = fields.String(allow_none=True)
    code = fields.String()
    detail = fields.String()
    detail_en = fields.String()


class IntakeSchema(Schema):
    """What became of a batch."""

    accepted = fields.Integer()
    duplicates = fields.Integer()
    errors = fields.List(fields.Nested(Refusal))


class StrangerUpload(Strict):
    """POST /edge/strangers: whose frame the body is."""

    entry_id = fields.UUID(required=True)
    gate_id = fields.String(required=True, validate=ID)
    at = Moment(required=True)


class StrangerReceipt(Schema):
    """The frame is kept until `expires_at`."""

    stranger_id = fields.String()
    expires_at = fields.AwareDateTime()
