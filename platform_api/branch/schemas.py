"""Requests and answers about branches and their photos."""

from typing import Any

from marshmallow import Schema, fields, pre_load, validate

from platform_api.branch.rules import STATUSES
from platform_api.core.schemas import ID, PageQuery, Strict, page_of

HOURS = {"description": 'Weekly hours, {"mon": [["06:00", "23:00"]]}; null: around the clock.'}
CODE = validate.Regexp(r"^[a-z][a-z0-9_]{0,31}\Z", error="Not a code.")
PHONE = validate.Regexp(r"^\+?[0-9][0-9 -]{5,19}\Z", error="Not a telephone number.")
NEW_ID = validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", error="Letters, digits, - and _; at most 64.")
_NAME = validate.Length(min=1, max=100)
_TEXT = validate.Length(max=5000)


class Codes(fields.List[str]):
    """Codes, each once, sorted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fields.String(validate=CODE), validate=validate.Length(max=100), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return sorted(set(super()._deserialize(value, attr, data, **kwargs)))


class PriceSchema(Strict):
    """A plan and what it costs."""

    plan = fields.String(required=True, validate=_NAME)
    won = fields.Integer(required=True, strict=True, validate=validate.Range(0, 100_000_000))
    months = fields.Integer(
        required=True, strict=True, validate=validate.Range(0, 120), metadata={"description": "0: a day pass."}
    )


class BranchProfileChange(Strict):
    """PATCH /branches/{id}: any of these."""

    name = fields.String(validate=_NAME)
    name_en = fields.String(allow_none=True, validate=_NAME)
    description = fields.String(validate=_TEXT)
    description_en = fields.String(allow_none=True, validate=_TEXT)
    address = fields.String(validate=validate.Length(min=1, max=300))
    region = fields.String(validate=_NAME)
    latitude = fields.Float(validate=validate.Range(-90, 90))
    longitude = fields.Float(validate=validate.Range(-180, 180))
    timezone = fields.String(validate=validate.Length(min=1, max=64))
    hours = fields.Dict(keys=fields.String(), allow_none=True, metadata=HOURS)
    amenities = Codes()
    prices = fields.List(fields.Nested(PriceSchema), validate=validate.Length(max=50))
    capacity = fields.Integer(allow_none=True, strict=True, validate=validate.Range(1, 100_000))
    status = fields.String(validate=validate.OneOf(STATUSES))
    phone = fields.String(allow_none=True, validate=PHONE)

    @pre_load
    def strip(self, data: Any, **_: Any) -> Any:
        """Spaces around a text are nobody's wish."""
        if not isinstance(data, dict):
            return data
        return {name: value.strip() if isinstance(value, str) else value for name, value in data.items()}


class NewBranch(BranchProfileChange):
    """POST /branches."""

    branch_id = fields.String(
        load_default=None, validate=NEW_ID, metadata={"description": "Made for you where left out."}
    )
    name = fields.String(required=True, validate=_NAME)
    name_en = fields.String(load_default=None, allow_none=True, validate=_NAME)
    description = fields.String(load_default="", validate=_TEXT)
    description_en = fields.String(load_default=None, allow_none=True, validate=_TEXT)
    address = fields.String(required=True, validate=validate.Length(min=1, max=300))
    region = fields.String(required=True, validate=_NAME)
    latitude = fields.Float(required=True, validate=validate.Range(-90, 90))
    longitude = fields.Float(required=True, validate=validate.Range(-180, 180))
    timezone = fields.String(load_default="Asia/Seoul", validate=validate.Length(min=1, max=64))
    hours = fields.Dict(keys=fields.String(), load_default=None, allow_none=True, metadata=HOURS)
    amenities = Codes(load_default=list)
    prices = fields.List(fields.Nested(PriceSchema), load_default=list, validate=validate.Length(max=50))
    capacity = fields.Integer(load_default=None, allow_none=True, strict=True, validate=validate.Range(1, 100_000))
    status = fields.String(load_default="preparing", validate=validate.OneOf(STATUSES))
    phone = fields.String(load_default=None, allow_none=True, validate=PHONE)
    manager_ids = fields.List(fields.String(validate=ID), load_default=list, validate=validate.Length(max=50))


class BranchPhotoSchema(Schema):
    """A public photo of a branch."""

    photo_id = fields.String()
    caption = fields.String(allow_none=True)
    width = fields.Integer()
    height = fields.Integer()
    url = fields.Function(
        lambda photo: f"/branch/v1/branches/{photo.branch_id}/photos/{photo.photo_id}", metadata={"type": "string"}
    )


class BranchProfileSchema(Schema):
    """A branch, as everybody may see it."""

    branch_id = fields.String()
    name = fields.String()
    name_en = fields.String(allow_none=True)
    description = fields.String()
    description_en = fields.String(allow_none=True)
    address = fields.String()
    region = fields.String()
    latitude = fields.Float()
    longitude = fields.Float()
    timezone = fields.String()
    hours = fields.Raw(allow_none=True, metadata=HOURS)
    amenities = fields.List(fields.String())
    prices = fields.List(fields.Nested(PriceSchema))
    capacity = fields.Integer(allow_none=True)
    status = fields.String(validate=validate.OneOf(STATUSES))
    phone = fields.String(allow_none=True)
    photos = fields.List(fields.Nested(BranchPhotoSchema))
    version = fields.Integer()
    updated_at = fields.AwareDateTime()


BranchPage = page_of(BranchProfileSchema, "BranchDirectoryPage")


class BranchQuery(PageQuery):
    """Which branches."""

    region = fields.String(load_default=None, validate=validate.Length(max=100))
    status = fields.String(load_default=None, validate=validate.OneOf(STATUSES))
    amenity = fields.String(load_default=None, validate=CODE)


class BranchList(Schema):
    """Your branches."""

    items = fields.List(fields.Nested(BranchProfileSchema))


class ManagersChange(Strict):
    """PUT /branches/{id}/managers."""

    manager_ids = fields.List(fields.String(validate=ID), required=True, validate=validate.Length(max=50))


class ManagersSchema(Schema):
    """Who runs a branch."""

    branch_id = fields.String()
    manager_ids = fields.List(fields.String())


class CaptionForm(Strict):
    """The field of the form beside its part `photo`."""

    caption = fields.String(load_default=None, validate=validate.Length(max=200))


PHOTO = {
    "type": "object",
    "required": ["photo"],
    "properties": {
        "photo": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."},
        "caption": {"type": "string", "maxLength": 200},
    },
}
