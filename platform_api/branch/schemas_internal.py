"""Requests and answers of what the data side asks of the branch domain."""

from marshmallow import Schema, fields, validate

from platform_api.branch.schemas_work import PreferenceSchema
from platform_api.core.schemas import Moment, PageQuery, Strict, page_of

MOST_MEASURED = 50
_PSEUDONYM = {"description": "Pseudonym of a member."}


class PreferenceList(Schema):
    """Of every branch of which enough is known."""

    items = fields.List(fields.Nested(PreferenceSchema))


class HistoryQuery(PageQuery):
    """Since when."""

    since = Moment(load_default=None)


class VisitSchema(Schema):
    """Somebody came, by the branch's clock."""

    member = fields.String(metadata=_PSEUDONYM)
    branch_id = fields.String()
    day = fields.Date()
    weekday = fields.Integer(metadata={"description": "0: Monday.", "minimum": 0, "maximum": 6})
    hour = fields.Integer(metadata={"minimum": 0, "maximum": 23})


class RatingSchema(Schema):
    """How somebody rated a branch."""

    member = fields.String(metadata=_PSEUDONYM)
    branch_id = fields.String()
    rating = fields.Integer()
    day = fields.Date()


class TraitsQuery(Strict):
    """Which page; each branch is measured anew, so that a page is short."""

    cursor = fields.String(load_default=None, validate=validate.Length(max=500))
    limit = fields.Integer(load_default=MOST_MEASURED, validate=validate.Range(1, MOST_MEASURED))


class BranchTraitsSchema(Schema):
    """What kind of place a branch is now."""

    branch_id = fields.String()
    traits = fields.Dict(keys=fields.String(), values=fields.Float())
    visits = fields.Integer()
    reviews = fields.Integer()


VisitPage = page_of(VisitSchema, "VisitPage")
RatingPage = page_of(RatingSchema, "RatingPage")
BranchTraitsPage = page_of(BranchTraitsSchema, "BranchTraitsPage")
