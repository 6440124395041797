"""Bodies of requests: small unless a route says otherwise; photos bounded before they are read, never spooled to disk."""

import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request
from werkzeug.formparser import FormDataParser

SMALL_BODY = 64 * 1024
MAX_PARTS = 20
# Werkzeug reads 64 KiB at a time and measures by this what it holds at once, parts of files included: with less than two
# such pieces, a photo with a line break near the end of one is refused as too large.
FORM_MEMORY = 2 * SMALL_BODY

P = ParamSpec("P")
R = TypeVar("R")


def small_body() -> None:
    """`before_request` of a blueprint: a JSON body needs no more than 64 KiB (413 `too_large` beyond)."""
    if request.mimetype != "multipart/form-data":
        request.max_content_length = SMALL_BODY


def body_up_to(limit: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Allow a route a larger body than the domain's others."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
            request.max_content_length = limit
            return function(*args, **kwargs)

        return bounded

    return decorate


def in_memory_upload(limit: Callable[[], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Read the multipart body of a route within `limit()` bytes, without touching the disk.

    Stands outside `transaction`, which looks at the parts for the idempotency key.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def bounded(*args: P.args, **kwargs: P.kwargs) -> R:
            most = limit()
            request.max_content_length = most
            request.max_form_parts = MAX_PARTS

            def parser() -> FormDataParser:
                return FormDataParser(
                    stream_factory=_in_memory,
                    max_form_memory_size=FORM_MEMORY,
                    max_content_length=most,
                    max_form_parts=MAX_PARTS,
                    cls=request.parameter_storage_class,
                )

            # Werkzeug would spool parts above 500 kB to a temporary file.
            request.make_form_data_parser = parser  # type: ignore[method-assign]
            return function(*args, **kwargs)

        return bounded

    return decorate


def uploaded(field: str) -> list[bytes]:
    """The parts named `field`, in order."""
    return [part.read() for part in request.files.getlist(field)]


def _in_memory(*_: Any, **__: Any) -> io.BytesIO:
    return io.BytesIO()
