"""Requests and answers of finding, suggestions and the index."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from platform_api.core.schemas import Strict, page_of
from platform_api.search.models import REBUILD_STATES

CODE = validate.Regexp(r"^[a-z][a-z0-9_]{0,39}\Z", error="Not a code.")
ORDERS = ("best", "distance", "rating", "price")
_SENTENCE = {
    "description": "What is looked for, as one would say it, in Korean or English.",
    "example": "강남역 근처 24시간 주차되는 곳",
}


class Codes(fields.String):
    """Codes parted by commas: parking,shower."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        codes = [code.strip() for code in super()._deserialize(value, attr, data, **kwargs).split(",") if code.strip()]
        if len(codes) > 10:
            raise ValidationError("At most 10 codes.")
        for code in codes:
            CODE(code)
        return codes


# --- finding


class BranchQuery(Strict):
    """GET /branches."""

    # Longer sentences are cut where they are read (200 characters); a URL of megabytes never comes this far.
    q = fields.String(load_default="", metadata=_SENTENCE)
    lat = fields.Float(load_default=None, validate=validate.Range(-90, 90), metadata={"description": "Where you are."})
    lon = fields.Float(load_default=None, validate=validate.Range(-180, 180))
    km = fields.Float(
        load_default=None, validate=validate.Range(0.1, 500), metadata={"description": "No farther than this."}
    )
    open_now = fields.Boolean(load_default=False)
    amenities = Codes(load_default=[], metadata={"description": "Codes, comma-separated: parking,shower."})
    max_won = fields.Integer(
        load_default=None, validate=validate.Range(0, 10_000_000), metadata={"description": "A month."}
    )
    min_rating = fields.Float(load_default=None, validate=validate.Range(1, 5))
    order = fields.String(load_default="best", validate=validate.OneOf(ORDERS))
    personal = fields.Boolean(load_default=True, metadata={"description": "Rank by your preferences (with a login)."})
    cursor = fields.String(load_default=None, validate=validate.Length(max=100))
    limit = fields.Integer(load_default=10, validate=validate.Range(1, 50))

    @validates_schema
    def _both_or_none(self, data: dict[str, Any], **_: Any) -> None:
        if (data["lat"] is None) != (data["lon"] is None):
            raise ValidationError("lat and lon go together.", "lat" if data["lat"] is None else "lon")


class SaidSchema(Schema):
    """Something told to the caller: a code for programs, Korean and English for people."""

    code = fields.String()
    ko = fields.String()
    en = fields.String()


class FoundSchema(Schema):
    """A branch that was found."""

    branch_id = fields.String()
    name = fields.String()
    name_en = fields.String(allow_none=True)
    address = fields.String()
    region = fields.String()
    latitude = fields.Float()
    longitude = fields.Float()
    distance_m = fields.Integer(
        allow_none=True, metadata={"description": "From the place named, else from where you are."}
    )
    open_now = fields.Boolean()
    always_open = fields.Boolean()
    timezone = fields.String()
    hours = fields.Raw(allow_none=True)
    amenities = fields.List(fields.String())
    monthly_won = fields.Integer(allow_none=True)
    rating = fields.Float(allow_none=True)
    reviews = fields.Integer()
    phone = fields.String(allow_none=True)
    score = fields.Float()
    near_miss = fields.Boolean(
        metadata={"description": "Fulfils all but what the first reasons name; comes after the others."}
    )
    reasons = fields.List(fields.Nested(SaidSchema))


class CorrectionSchema(Schema):
    """A word that was taken for another."""

    typed = fields.String()
    taken = fields.String()


class UnderstoodSchema(Schema):
    """How the sentence was understood, so that an app can show it and offer to change it."""

    text = fields.String()
    corrections = fields.List(fields.Nested(CorrectionSchema))
    places = fields.List(fields.String())
    amenities = fields.List(fields.String())
    without = fields.List(fields.String())
    traits = fields.List(fields.String())
    words = fields.List(fields.String())
    phrases = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "Set phrases, by what they say: price, hours, distance, ..."},
    )
    max_won = fields.Integer(allow_none=True)
    min_won = fields.Integer(allow_none=True)
    min_rating = fields.Float(allow_none=True)
    km = fields.Float(allow_none=True)
    order = fields.String(allow_none=True)
    needs_location = fields.Boolean(metadata={"description": "Asked for what is near, without saying where."})


class BranchPage(Schema):
    """The results: at most 60, the best first."""

    items = fields.List(fields.Nested(FoundSchema))
    next_cursor = fields.String(allow_none=True)
    total = fields.Integer(metadata={"description": "How many fulfil everything."})
    relaxed = fields.List(
        fields.Nested(SaidSchema), metadata={"description": "Few or none fulfil everything: given up to find more."}
    )
    understood = fields.Nested(UnderstoodSchema)


class SuggestionQuery(Strict):
    """GET /suggestions."""

    q = fields.String(required=True, metadata={"description": "What has been typed so far.", "example": "강나"})
    limit = fields.Integer(load_default=8, validate=validate.Range(1, 20))


class SuggestionSchema(Schema):
    """A completion."""

    text = fields.String(metadata={"description": "The whole sentence, completed."})
    kind = fields.String(validate=validate.OneOf(("place", "amenity", "name")))
    branches = fields.Integer(metadata={"description": "In how many branches it occurs."})


class SuggestionPage(Schema):
    """Completions, the likeliest first."""

    items = fields.List(fields.Nested(SuggestionSchema))


class ProfileSchema(Schema):
    """A branch as search knows it."""

    branch_id = fields.String()
    name = fields.String()
    name_en = fields.String(allow_none=True)
    address = fields.String()
    region = fields.String()
    latitude = fields.Float()
    longitude = fields.Float()
    open_now = fields.Boolean()
    always_open = fields.Boolean()
    timezone = fields.String()
    hours = fields.Raw(allow_none=True)
    amenities = fields.List(fields.String())
    monthly_won = fields.Integer(allow_none=True)
    rating = fields.Float(allow_none=True)
    reviews = fields.Integer()
    phone = fields.String(allow_none=True)
    traits = fields.Dict(keys=fields.String(), values=fields.Float())
    keywords = fields.List(fields.String())


class PreferencesSchema(Schema):
    """What search holds of a member's preferences; computed from visits and reviews, -1 (dislikes) to 1 (likes).

    `recommended` (branch -> 0 to 1) and `learnt_traits` were learnt nightly from the visits of all members together.
    """

    member_id = fields.String()
    traits = fields.Dict(keys=fields.String(), values=fields.Float())
    amenities = fields.Dict(keys=fields.String(), values=fields.Float())
    visited = fields.Dict(keys=fields.String(), values=fields.Integer())
    computed_at = fields.AwareDateTime(allow_none=True)
    recommended = fields.Dict(keys=fields.String(), values=fields.Float())
    learnt_traits = fields.Dict(keys=fields.String(), values=fields.Float())
    learnt_at = fields.AwareDateTime(allow_none=True)


# --- the index


class RebuildSchema(Schema):
    """A rebuilding of the index. With `hold`, the new index (`built`) serves once it is accepted, and not otherwise."""

    rebuild_id = fields.String()
    state = fields.String(validate=validate.OneOf(REBUILD_STATES))
    asked_by = fields.String()
    asked_at = fields.AwareDateTime()
    started_at = fields.AwareDateTime(allow_none=True)
    finished_at = fields.AwareDateTime(allow_none=True)
    documents = fields.Integer(allow_none=True)
    error = fields.String(allow_none=True)
    hold = fields.Boolean()
    held_until = fields.AwareDateTime(allow_none=True, metadata={"description": "Dropped then, unless it is accepted."})


class IndexSchema(Schema):
    """How the index stands."""

    engine = fields.String()
    documents = fields.Integer()
    pending = fields.Integer(metadata={"description": "Branches waiting to be indexed."})


RebuildPage = page_of(RebuildSchema, "RebuildPage")
