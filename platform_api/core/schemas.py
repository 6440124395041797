"""What the requests and answers of every domain share: strictness, ids, pages, ETags."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate

from platform_api.core.errors import Problem
from platform_api.core.pagination import MAX_LIMIT
from platform_api.core.texts import is_storable

PEOPLE = ("customer", "helper", "branch_manager", "operator")
"""Roles of people, as against devices and services."""
ID = validate.Regexp(r"^[A-Za-z0-9_.:-]{1,64}\Z", error="Not an id.")


class Truth(fields.Boolean):
    """true or false, and nothing that might be meant by it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Moment(fields.AwareDateTime):
    """A time with its offset, as UTC: offsets may have up to 23:59 hours (RFC 3339), which databases do not read."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        found: datetime = super()._deserialize(value, attr, data, **kwargs)
        try:
            return found.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from error


class Strict(Schema):
    """A request: what is not named is refused, so that nobody sets what is not theirs to set."""

    class Meta:
        unknown = RAISE

    @pre_load
    def refuse_unstorable(self, data: Any, **_: Any) -> Any:
        """Texts that no database holds are refused where they come in."""
        if isinstance(data, Mapping):
            bad = {
                str(name): ["Has characters that cannot be stored."]
                for name, item in data.items()
                if not is_storable(item)
            }
            # A part of a form may have no name.
            if bad or None in data or not is_storable(list(data)):
                raise ValidationError(bad or {"_schema": ["A name has characters that cannot be stored."]})
        return data


class PageQuery(Strict):
    """Which page of a list."""

    cursor = fields.String(load_default=None, validate=validate.Length(max=500))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, MAX_LIMIT))


class IfMatch(Schema):
    """The ETag that was read; an edit of a newer version is refused with 412."""

    if_match = fields.String(data_key="If-Match", load_default=None, validate=validate.Length(max=200))


def page_of(item: type[Schema], name: str) -> type[Schema]:
    """The schema of a page of items: {items, next_cursor}."""
    page = {"items": fields.List(fields.Nested(item)), "next_cursor": fields.String(allow_none=True)}
    made = Schema.from_dict(page, name=name)  # type: ignore[arg-type]
    made.__module__ = item.__module__
    return made


def component_name(schema: Schema | type[Schema]) -> str:
    """Name of a schema in the OpenAPI document: the domain before it, since two domains may have one of a name."""
    made = schema if isinstance(schema, type) else type(schema)
    _, _, inside = made.__module__.partition("platform_api.")
    domain = inside.partition(".")[0]
    name = made.__name__.removesuffix("Schema")
    return f"{domain.capitalize()}{name}" if domain and domain != "core" else name


def etag(version: int) -> str:
    """The ETag of an object at `version` (RFC 9110 section 8.8.3)."""
    return f'"{version}"'


def check_match(if_match: str | None, version: int, required: bool = False) -> None:
    """Raise unless the caller edits the present version of an object.

    Args:
        required: an edit without If-Match is refused, instead of taken as it is.

    Raises:
        Problem: 412 for another version; 428 where If-Match is missing and required.
    """
    if if_match is None:
        if required:
            raise Problem(428, etag=etag(version))
        return
    if if_match.strip() != "*" and etag(version) not in {part.strip() for part in if_match.split(",")}:
        raise Problem(412, etag=etag(version))


def tagged(body: Any, version: int, status: int = 200) -> tuple[Any, int, dict[str, str]]:
    """An answer with the ETag of what it shows."""
    return body, status, {"ETag": etag(version)}
