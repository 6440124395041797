"""Requests and answers of what the data side asks: the corpus, keywords, held indexes, what was learnt of members."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from platform_api.core.pseudonyms import LONGEST
from platform_api.core.schemas import ID, Moment, Strict, Truth, page_of
from platform_api.search.keywords import MOST
from platform_api.search.schemas import CODE

MOST_REVIEWS = 200
MOST_QUERIES = 100
MOST_MEMBERS = 40
"""So many fit into a small body, whatever their ids."""


class CorpusQuery(Strict):
    """Since when reviews count as changed."""

    since = Moment(load_default=None)


class ConceptSchema(Schema):
    """A trait or an amenity that is known, and what it is called."""

    code = fields.String()
    ko = fields.String()
    en = fields.String()
    words = fields.List(fields.String())


class CorpusSchema(Schema):
    """How much there is to index."""

    branches = fields.Integer()
    reviews = fields.Integer()
    changed = fields.Integer(metadata={"description": "Visible reviews posted or edited after `since`."})
    at = fields.AwareDateTime(metadata={"description": "When this was counted: the next `since`."})
    traits = fields.List(fields.Nested(ConceptSchema))
    amenities = fields.List(fields.Nested(ConceptSchema))


class KeywordsStateSchema(Schema):
    """Keywords that are kept of a branch: what they were made by, and of what."""

    model = fields.String()
    version = fields.String()
    digest = fields.String()
    extracted_at = fields.AwareDateTime()


class CorpusBranchSchema(Schema):
    """The page of a branch."""

    branch_id = fields.String()
    version = fields.Integer()
    name = fields.String()
    name_en = fields.String(allow_none=True)
    region = fields.String()
    address = fields.String()
    amenities = fields.List(fields.String())
    description = fields.String()
    description_en = fields.String()
    keywords = fields.Nested(KeywordsStateSchema, allow_none=True)


class CorpusReviewSchema(Schema):
    """A visible review; not who wrote it."""

    review_id = fields.String()
    version = fields.Integer()
    branch_id = fields.String()
    rating = fields.Integer()
    text = fields.String()
    language = fields.String()
    posted_at = fields.AwareDateTime(attribute="created_at")


CorpusBranchPage = page_of(CorpusBranchSchema, "CorpusBranchPage")
CorpusReviewPage = page_of(CorpusReviewSchema, "CorpusReviewPage")


class ReadReview(Strict):
    """A review as it was read."""

    review_id = fields.String(required=True, validate=ID)
    version = fields.Integer(required=True, validate=validate.Range(1, 2**31 - 1))


class NewKeywords(Strict):
    """Keywords of a branch, and what they were made of."""

    model = fields.String(required=True, validate=validate.Length(1, 200))
    version = fields.String(required=True, validate=validate.Length(1, 64))
    digest = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))
    branch_version = fields.Integer(required=True, validate=validate.Range(0, 2**62))
    reviews = fields.List(fields.Nested(ReadReview), required=True, validate=validate.Length(max=MOST_REVIEWS))
    words = fields.List(
        fields.String(validate=validate.Length(2, 40)), required=True, validate=validate.Length(max=MOST)
    )
    traits = fields.Dict(
        keys=fields.String(validate=CODE),
        values=fields.Integer(validate=validate.Range(1, MOST_REVIEWS + 1)),
        required=True,
        metadata={"description": "Code -> number of texts that say it, the page among them."},
    )


class NewRebuild(Strict):
    """What kind of rebuild."""

    hold = Truth(load_default=True, metadata={"description": "Build it, and let it serve once it is accepted."})


class TrialQueries(Strict):
    """Sentences to ask of the index that is held."""

    queries = fields.List(
        fields.String(validate=validate.Length(max=200)), required=True, validate=validate.Length(1, MOST_QUERIES)
    )
    limit = fields.Integer(load_default=10, validate=validate.Range(1, 50))


class HitSchema(Schema):
    """A branch that was found; `near_miss`: it does not fulfil everything."""

    branch_id = fields.String()
    name = fields.String()
    score = fields.Float()
    near_miss = fields.Boolean()


class TrialResultSchema(Schema):
    """What a sentence finds."""

    query = fields.String()
    total = fields.Integer()
    hits = fields.List(fields.Nested(HitSchema))


class TrialSchema(Schema):
    """How the held index answers."""

    documents = fields.Integer()
    results = fields.List(fields.Nested(TrialResultSchema))


class Rejection(Strict):
    """Why the new index is not to serve."""

    reason = fields.String(required=True, validate=validate.Length(1, 500))


class Share(fields.Float):
    """A finite number of an interval."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__(validate=validate.Range(least, most))


class Few(fields.Dict):
    """An object of not too many members."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        found: dict[str, Any] = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        if len(found) > 20:
            raise ValidationError("At most 20.")
        return found


class LearntMember(Strict):
    """What was learnt of a member."""

    member = fields.String(
        required=True, validate=validate.Length(1, LONGEST), metadata={"description": "The member's pseudonym."}
    )
    branches = Few(keys=fields.String(validate=ID), values=Share(0, 1), required=True)
    traits = Few(keys=fields.String(validate=CODE), values=Share(-1, 1), required=True)


class Recommendations(Strict):
    """A part of a set of recommendations."""

    version = fields.String(required=True, validate=ID)
    items = fields.List(fields.Nested(LearntMember), required=True, validate=validate.Length(max=MOST_MEMBERS))
    last = Truth(load_default=False, metadata={"description": "The set is whole: what earlier sets said is forgotten."})


class KeptSchema(Schema):
    """What became of a part."""

    kept = fields.Integer()
    passed_over = fields.Integer(metadata={"description": "Of members who have been erased."})
    forgotten = fields.Integer()
