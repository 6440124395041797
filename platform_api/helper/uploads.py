"""The multipart request that hands work in: its fields checked like any JSON, and few pictures in memory at once."""

import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request
from marshmallow import Schema, ValidationError

from platform_api.core.errors import Problem
from platform_api.helper.settings import settings

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE_S = 5.0


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


class FewAtOnce:
    """Lets so many uploads through at once, and tells the others to come again (503 `busy`).

    Each takes tens of megabytes, and a second database connection (see `objects`) while it holds its first: with too many
    at once, all would hold one and wait for another.
    """

    def __init__(self) -> None:
        self._free: threading.BoundedSemaphore | None = None
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Take the number from the settings anew."""
        self._free = None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard a route."""

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._lock:
                free = self._free = self._free or threading.BoundedSemaphore(settings().helper_uploads_at_once)
            if not free.acquire(timeout=PATIENCE_S):
                raise Problem(
                    503,
                    "busy",
                    "지금 사진이 몰려 있습니다. 잠시 후 다시 보내세요.",
                    "Many photos are coming in just now; send yours again in a moment.",
                    headers={"Retry-After": "1"},
                )
            try:
                return function(*args, **kwargs)
            finally:
                free.release()

        return guarded


few_at_once = FewAtOnce()
