"""Photos in a request: bounded before they are read, and kept in memory, never in a temporary file on disk."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request
from werkzeug.formparser import FormDataParser

from platform_api.auth.settings import settings

SMALL_BODY = 64 * 1024
MAX_PARTS = 20
FIELD = "photos"

P = ParamSpec("P")
R = TypeVar("R")


def small_body() -> None:
    """Before every request of this domain: a JSON body needs no more than 64 KiB (413 `too_large` beyond)."""
    if request.mimetype != "multipart/form-data":
        request.max_content_length = SMALL_BODY


def photo_upload(function: Callable[P, R]) -> Callable[P, R]:
    """Read the multipart body of a route within `face_request_max_bytes` and without touching the disk.

    Outside `transaction`, which looks at the parts for the idempotency key.
    """

    @functools.wraps(function)
    def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
        limit = settings().face_request_max_bytes
        request.max_content_length = limit
        request.max_form_parts = MAX_PARTS

        def parser() -> FormDataParser:
            return FormDataParser(
                stream_factory=_in_memory,
                max_form_memory_size=SMALL_BODY,
                max_content_length=limit,
                max_form_parts=MAX_PARTS,
                cls=request.parameter_storage_class,
            )

        # Werkzeug would spool parts above 500 kB to a temporary file.
        request.make_form_data_parser = parser  # type: ignore[method-assign]
        return function(*args, **kwargs)

    return bounded


def photos() -> list[bytes]:
    """The parts named `photos`, in order."""
    return [part.read() for part in request.files.getlist(FIELD)]


def _in_memory(*_: Any, **__: Any) -> io.BytesIO:
    return io.BytesIO()
