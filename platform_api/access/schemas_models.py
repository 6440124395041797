"""What edge nodes report of face models."""

from __future__ import annotations

from marshmallow import Schema, fields, validate, validates_schema
from marshmallow import ValidationError as Invalid

from platform_api.core.schemas import ID, Moment, Strict, Truth

MOST = 200
_COUNT = validate.Range(0, 10**9)


class ModelReportIn(Strict):
    """How a version did at the node since its last report. agreed: of `frames`, decided as the live version did."""

    report_id = fields.String(required=True, validate=ID)
    version = fields.String(required=True, validate=validate.Length(min=1, max=100))
    stage = fields.String(required=True, validate=validate.OneOf(("shadow", "canary", "live")))
    frames = fields.Integer(required=True, strict=True, validate=_COUNT)
    agreed = fields.Integer(required=True, strict=True, validate=_COUNT)
    accepted = fields.Integer(required=True, strict=True, validate=_COUNT)
    errors = fields.Integer(required=True, strict=True, validate=_COUNT)
    milliseconds_p50 = fields.Float(required=True, allow_none=True, allow_nan=False, validate=validate.Range(0))
    milliseconds_p95 = fields.Float(required=True, allow_none=True, allow_nan=False, validate=validate.Range(0))
    ready = Truth(required=True)
    trouble = fields.String(required=True, allow_none=True, validate=validate.Regexp(r"^[a-z][a-z0-9_]{0,63}\Z"))
    at = Moment(required=True)

    @validates_schema
    def add_up(self, data: dict[str, object], **_: object) -> None:
        """No more can be agreed on, or accepted, than were scored."""
        for name in ("agreed", "accepted"):
            if int(str(data[name])) > int(str(data["frames"])):
                raise Invalid("More than frames.", name)


class ModelReports(Strict):
    """POST /edge/model-reports."""

    reports = fields.List(fields.Nested(ModelReportIn), required=True, validate=validate.Length(min=1, max=MOST))


class ModelReportReceipt(Schema):
    """passed_over: known already, or of a model that is not known here."""

    accepted = fields.Integer()
    passed_over = fields.Integer()
