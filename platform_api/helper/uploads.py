"""The multipart request that hands work in: its fields checked like any JSON, and few pictures in memory at once."""

from typing import Any

from flask import request
from marshmallow import Schema, ValidationError

from platform_api.core.errors import Problem
from platform_api.core.turnstile import Turnstile
from platform_api.helper.settings import settings


def form(schema: Schema) -> dict[str, Any]:
    """The fields of the form, as `schema` wants them.

    Raises:
        Problem: 422 naming the wrong ones; 415 it is no multipart form.
    """
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "not_multipart", "multipart/form-data로 보내세요.", "Send multipart/form-data.")
    try:
        fields: dict[str, Any] = schema.load(request.form.to_dict())
    except ValidationError as error:
        raise Problem(422, errors={"form": error.messages}) from error
    return fields


# Each takes tens of megabytes, and a second database connection (see `core.objects`) while it holds its first: with too
# many at once, all would hold one and wait for another.
few_at_once = Turnstile(
    lambda: settings().helper_uploads_at_once,
    "지금 사진이 몰려 있습니다. 잠시 후 다시 보내세요.",
    "Many photos are coming in just now; send yours again in a moment.",
    patience_s=5.0,
)
