"""Requests and answers about data sets and trainings."""

from marshmallow import Schema, fields, validate

from platform_api.core.schemas import ID, PageQuery, Strict, page_of

NAME = validate.Regexp(r"^[a-z0-9][a-z0-9_-]{0,63}\Z", error="Lower-case letters, digits, - and _.")
STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")
MODEL = validate.Regexp(r"^[a-z]{1,32}\Z", error="Not a model.")


class NewDataset(Strict):
    """POST /models/{model}/datasets: one that lies in the object store under datasets/{model}/{name}."""

    name = fields.String(required=True, validate=NAME)
    confirmations_through = fields.Integer(
        load_default=None,
        strict=True,
        allow_none=True,
        validate=validate.Range(0, 2**53),
        metadata={"description": "Number of the last decision of a person that is in it (see /corrections)."},
    )
    run_id = fields.String(
        load_default=None, allow_none=True, validate=ID, metadata={"description": "Run of Dagster that made it."}
    )


class DatasetSchema(Schema):
    """A data set."""

    dataset_id = fields.String()
    model = fields.String()
    name = fields.String()
    digest = fields.String()
    photos = fields.Integer()
    helpers = fields.Integer(metadata={"description": "People whose work or faces it shows."})
    counts = fields.Dict(metadata={"description": "Photos by task and state."})
    done_states = fields.Dict(metadata={"description": "Which state of a task means done."})
    confirmations_through = fields.Integer(allow_none=True)
    created_by = fields.String()
    created_at = fields.AwareDateTime()


DatasetPage = page_of(DatasetSchema, "DatasetPage")


class NewTraining(Strict):
    """POST /models/{model}/trainings."""

    dataset_id = fields.String(
        load_default=None,
        allow_none=True,
        validate=ID,
        metadata={"description": "A new one is collected where left out."},
    )


class TrainingSchema(Schema):
    """A training and how far it is."""

    training_id = fields.String()
    model = fields.String()
    dataset_id = fields.String(allow_none=True, metadata={"description": "null until it has been collected."})
    run_id = fields.String(allow_none=True, metadata={"description": "Of the run in Dagster; null until it has one."})
    run_url = fields.String(allow_none=True, metadata={"description": "Where the run is shown, to operators."})
    state = fields.String(validate=validate.OneOf(STATES))
    progress = fields.Float(metadata={"description": "0 to 1."})
    message = fields.String(allow_none=True)
    version = fields.String(allow_none=True, metadata={"description": "What came of it."})
    error = fields.String(allow_none=True)
    requested_by = fields.String()
    requested_at = fields.AwareDateTime()
    started_at = fields.AwareDateTime(allow_none=True)
    finished_at = fields.AwareDateTime(allow_none=True)


TrainingPage = page_of(TrainingSchema, "TrainingPage")


class TrainingQuery(PageQuery):
    """Which trainings."""

    model = fields.String(load_default=None, validate=MODEL)
    state = fields.String(load_default=None, validate=validate.OneOf(STATES))


class LineSchema(Schema):
    """A line of a training's log."""

    number = fields.Integer()
    at = fields.AwareDateTime()
    text = fields.String()


LogPage = page_of(LineSchema, "TrainingLogPage")
