"""Requests and answers about the reports of the audit trails."""

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import Strict, page_of
from platform_api.mlops.audits import SEVERITIES

MOST = 100
COUNT = validate.Range(0, 2**31 - 1)


class NewFinding(Strict):
    """A finding as the analysis hands it over; people stand in it as pseudonyms."""

    finding_id = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{16}\Z"))
    kind = fields.String(required=True, validate=validate.Regexp(r"^[a-z_]{1,40}\Z"))
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES))
    subject = fields.String(required=True, validate=validate.Length(1, 200))
    at = fields.String(required=True, validate=validate.Length(0, 40))
    korean = fields.String(required=True, validate=validate.Length(1, 300))
    english = fields.String(required=True, validate=validate.Length(1, 300))
    figures = fields.Dict(keys=fields.String(), required=True)


class Counts(Strict):
    """Findings by severity."""

    critical = fields.Integer(required=True, strict=True, validate=COUNT)
    warning = fields.Integer(required=True, strict=True, validate=COUNT)
    info = fields.Integer(required=True, strict=True, validate=COUNT)


class NewReport(Strict):
    """PUT /audits/{name}."""

    findings = fields.List(
        fields.Nested(NewFinding),
        required=True,
        validate=validate.Length(max=MOST),
        metadata={"description": "The gravest of them; the whole report lies in the object store."},
    )
    counts = fields.Nested(Counts, required=True)


class ReportSchema(Schema):
    """A report, without its findings."""

    name = fields.String(metadata={"description": "The day in Seoul, or chain: the hash chains of all trails."})
    critical = fields.Integer()
    warning = fields.Integer()
    info = fields.Integer()
    revision = fields.Integer(metadata={"description": "How often it has changed."})
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()


class FindingSchema(Schema):
    """A finding with the people it is about."""

    finding_id = fields.String()
    kind = fields.String()
    severity = fields.String(validate=validate.OneOf(SEVERITIES))
    subject = fields.String()
    subject_id = fields.String(
        allow_none=True, metadata={"description": "Member or network address behind the pseudonym; null: it is none."}
    )
    actor_id = fields.String(allow_none=True, metadata={"description": "Who did it, where that is somebody else."})
    at = fields.String()
    korean = fields.String()
    english = fields.String()
    figures = fields.Dict()


class ReportStory(ReportSchema):
    """A report with its findings."""

    findings = fields.List(fields.Nested(FindingSchema))


ReportPage = page_of(ReportSchema, "AuditReportPage")
