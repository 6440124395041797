"""Requests and answers about models, versions, deployments and verdicts."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from platform_api.core.schemas import ID, PageQuery, Strict, page_of

VERSION = validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", error="Not a version.")
VERDICTS = ("done", "not_done", "unclear")
NO_NUL = validate.Regexp(r"\A[^\x00]*\Z", error="No NUL.")
REASON = [validate.Length(min=1, max=500), NO_NUL]


class ModelSchema(Schema):
    """A model of the platform and what serves."""

    model = fields.String()
    live_version = fields.String(allow_none=True)
    revision = fields.Integer(metadata={"description": "Counts the events of the model."})
    updated_at = fields.AwareDateTime()


ModelPage = page_of(ModelSchema, "ModelPage")


class NewVersion(Strict):
    """POST /models/{model}/versions: one that lies in the model store."""

    version = fields.String(required=True, validate=VERSION)


class VersionChange(Strict):
    """PATCH of a version."""

    note = fields.String(allow_none=True, validate=[validate.Length(max=1000), NO_NUL])
    state = fields.String(validate=validate.OneOf(("available", "retired")))

    @validates_schema
    def something(self, data: dict[str, Any], **_: Any) -> None:
        """An edit edits something."""
        if not data:
            raise ValidationError("Name at least one field.")


class VersionSchema(Schema):
    """A version with its figures."""

    model = fields.String()
    version = fields.String()
    state = fields.String(validate=validate.OneOf(("available", "retired")))
    metrics = fields.Dict(keys=fields.String(), values=fields.Float())
    details = fields.Dict(metadata={"description": "Preprocessing, licences, SHA-256 of the files."})
    dataset = fields.String(allow_none=True, metadata={"description": "SHA-256 of what it was taught with."})
    training_id = fields.String(allow_none=True)
    note = fields.String(allow_none=True)
    created_by = fields.String()
    created_at = fields.AwareDateTime()


VersionPage = page_of(VersionSchema, "ModelVersionPage")


class VersionQuery(PageQuery):
    """Which versions."""

    state = fields.String(load_default=None, validate=validate.OneOf(("available", "retired")))


class NewDeployment(Strict):
    """POST /models/{model}/deployments."""

    version = fields.String(required=True, validate=VERSION)
    reason = fields.String(load_default=None, validate=REASON)


class Rollback(Strict):
    """POST /models/{model}/rollback."""

    reason = fields.String(required=True, validate=REASON)


class DeploymentSchema(Schema):
    """A deployment and how far it is."""

    deployment_id = fields.String()
    model = fields.String()
    version = fields.String()
    previous_version = fields.String(allow_none=True)
    kind = fields.String(validate=validate.OneOf(("deploy", "rollback")))
    reason = fields.String(allow_none=True)
    state = fields.String(
        validate=validate.OneOf(("requested", "live", "failed", "cancelled", "superseded", "rolled_back"))
    )
    error = fields.String(allow_none=True)
    requested_by = fields.String()
    requested_at = fields.AwareDateTime()
    finished_at = fields.AwareDateTime(allow_none=True)
    prepare_ms = fields.Float(allow_none=True, metadata={"description": "Building and warming up, beside what served."})


DeploymentPage = page_of(DeploymentSchema, "DeploymentPage")


class PhotoVerdict(Schema):
    """The verdict on a photo."""

    photo_id = fields.String()
    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    confidence = fields.Float()
    reason = fields.String(allow_none=True)


class JudgementSchema(Schema):
    """The verdict on a task."""

    task_id = fields.String()
    branch_id = fields.String()
    kind = fields.String()
    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    confidence = fields.Float()
    model_version = fields.String(allow_none=True)
    photos = fields.List(fields.Nested(PhotoVerdict))
    judged_at = fields.AwareDateTime()
    milliseconds = fields.Float()


JudgementPage = page_of(JudgementSchema, "JudgementPage")


class JudgementQuery(PageQuery):
    """Which verdicts."""

    verdict = fields.String(load_default=None, validate=validate.OneOf(VERDICTS))
    kind = fields.String(load_default=None, validate=ID)
    model_version = fields.String(load_default=None, validate=VERSION)


class CounterSchema(Schema):
    """Decisions of people since the last data set that holds any."""

    model = fields.String()
    confirmed = fields.Integer(metadata={"description": "All decisions."})
    corrected = fields.Integer(metadata={"description": "Those that said otherwise than the judge."})
    photos = fields.Integer(metadata={"description": "Photos that were labelled."})
    since = fields.Integer(metadata={"description": "Number of the last decision in a data set."})
    through = fields.Integer(metadata={"description": "Number of the last decision heard."})
    retrain_after = fields.Integer()
    due = fields.Boolean(metadata={"description": "Whether it is time to train."})


class PerformanceQuery(Strict):
    """Over how long."""

    days = fields.Integer(load_default=30, validate=validate.Range(1, 730))


class PerformanceRow(Schema):
    """How a version does in service, for one kind of task."""

    model_version = fields.String(allow_none=True)
    kind = fields.String()
    judged = fields.Integer()
    answered = fields.Integer(metadata={"description": "With done or not_done."})
    decided = fields.Integer(metadata={"description": "Answered ones that a person has decided about."})
    agreed = fields.Integer()
    coverage = fields.Float()
    agreement = fields.Float(allow_none=True)
    p50_ms = fields.Float()


class PerformanceSchema(Schema):
    """All versions that judged in the time."""

    items = fields.List(fields.Nested(PerformanceRow))
