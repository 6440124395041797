"""Requests and answers about models, versions, deployments and verdicts."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_dump, validate, validates_schema

from platform_api.core.schemas import ID, PageQuery, Strict, page_of

VERSION = validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", error="Not a version.")
TRIALS = ("shadow", "canary")
DEPLOYMENT_STATES = (
    "requested", "preparing", *TRIALS, "live", "failed", "cancelled", "superseded", "rolled_back",
)  # fmt: skip
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


class ModelStory(ModelSchema):
    """A model, what serves, and what would serve if it were rolled back."""

    former_version = fields.String(
        allow_none=True, metadata={"description": "The version that a way back leads to; null: there is none."}
    )


class NewVersion(Strict):
    """POST /models/{model}/versions: one that lies in the model store."""

    version = fields.String(required=True, validate=VERSION)
    run_id = fields.String(
        load_default=None, allow_none=True, validate=ID, metadata={"description": "Run of Dagster that made it."}
    )


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
    archive_key = fields.String(allow_none=True, metadata={"description": "Its signed archive in the object store."})
    archive_sha256 = fields.String(allow_none=True)
    archive_bytes = fields.Integer(allow_none=True)
    training_id = fields.String(allow_none=True)
    run_id = fields.String(allow_none=True, metadata={"description": "Run of Dagster that made it."})
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
    stages = fields.List(
        fields.String(validate=validate.OneOf(TRIALS)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(max=len(TRIALS)),
        metadata={
            "description": "Trials before it serves: shadow, canary. Null for the installation's, empty for none."
        },
    )


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
    stages = fields.List(fields.String(), metadata={"description": "Trials that it goes through before it serves."})
    state = fields.String(validate=validate.OneOf(DEPLOYMENT_STATES))
    stage = fields.String(
        validate=validate.OneOf((*DEPLOYMENT_STATES, "watching")),
        metadata={"description": "The state, and watching while a live version is watched."},
    )
    since = fields.AwareDateTime(metadata={"description": "When it came into its state."})
    place = fields.String(
        allow_none=True, metadata={"description": "Branch at which a canary of the photo judge serves."}
    )
    promoted_by = fields.String(allow_none=True, metadata={"description": "Who sent it on; None once it went."})
    watch_until = fields.AwareDateTime(allow_none=True)
    error = fields.String(allow_none=True, metadata={"description": "Why it failed."})
    requested_by = fields.String()
    requested_at = fields.AwareDateTime()
    finished_at = fields.AwareDateTime(allow_none=True)
    prepare_ms = fields.Float(allow_none=True, metadata={"description": "Building and warming up, beside what served."})


class StepSchema(Schema):
    """A state that a deployment came into, and why."""

    number = fields.Integer()
    state = fields.String(validate=validate.OneOf(DEPLOYMENT_STATES))
    at = fields.AwareDateTime()
    by = fields.String()
    reason = fields.String(allow_none=True)
    figures = fields.Dict(metadata={"description": "What it went by."})


class FiguresSchema(Schema):
    """How a version did in its present stage, beside the one it is compared with."""

    samples = fields.Integer(metadata={"description": "Tasks (photo judge) or frames (faces)."})
    errors = fields.Integer(metadata={"description": "Of them, those it broke on."})
    rate = fields.Float(allow_none=True, metadata={"description": "Share of sure verdicts, or of accepted frames."})
    p50_ms = fields.Float(allow_none=True)
    reference_samples = fields.Integer()
    reference_rate = fields.Float(allow_none=True)
    reference_p50_ms = fields.Float(allow_none=True)
    compared = fields.Integer(metadata={"description": "In shadow: those that both were sure of."})
    agreed = fields.Integer()
    candidate_right = fields.Integer(metadata={"description": "Contradictions that a person decided for it."})
    live_right = fields.Integer(metadata={"description": "Contradictions that a person decided for the live version."})


class DeploymentStory(DeploymentSchema):
    """A deployment, the figures so far, what it waits for, and what became of it."""

    steps = fields.List(fields.Nested(StepSchema))
    figures = fields.Nested(FiguresSchema, allow_none=True)
    waits_for = fields.String(
        allow_none=True,
        metadata={
            "description": "Samples, time, or what is away for the moment; until when, and what becomes of it then."
        },
    )

    @pre_dump
    def whole(self, story: Any, **_: Any) -> dict[str, Any]:
        """The deployment's own fields beside those of its story."""
        own = {name: getattr(story.deployment, name) for name in DeploymentSchema._declared_fields}
        return {**own, "steps": story.steps, "figures": story.figures, "waits_for": story.waits_for}


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
