"""Photos in a request: bounded before they are read, and kept in memory, never in a temporary file on disk."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request
from werkzeug.formparser import FormDataParser

from platform_api.auth.settings import settings
from platform_api.core.errors import Problem

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


class Turnstile:
    """Lets so many through at once, and tells the others to come again (503 `busy`).

    An enrolment takes tens of megabytes and some tenths of a second of a core, and then asks access, which may be served
    by the threads of this very process: enrolments must never take all of them.
    """

    def __init__(self, patience_s: float = 0.5) -> None:
        self.patience_s = patience_s
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
                free = self._free = self._free or threading.BoundedSemaphore(settings().face_enrolments_at_once)
            if not free.acquire(timeout=self.patience_s):
                raise Problem(
                    503,
                    "busy",
                    "지금 얼굴 등록이 몰려 있습니다. 잠시 후 다시 시도하세요.",
                    "Many faces are being enrolled just now; try again in a moment.",
                    headers={"Retry-After": "1"},
                )
            try:
                return function(*args, **kwargs)
            finally:
                free.release()

        return guarded


enrolments = Turnstile()


def photos() -> list[bytes]:
    """The parts named `photos`, in order."""
    return [part.read() for part in request.files.getlist(FIELD)]


def _in_memory(*_: Any, **__: Any) -> io.BytesIO:
    return io.BytesIO()
