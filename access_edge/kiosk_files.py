"""The kiosk page's own files, from memory, under a name that changes with the release; and what its browser may do."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from pathlib import Path

from flask import Response

from platform_api.core.errors import Problem

FOLDER = Path(__file__).parent
URL = "/kiosk-files"
FOR_GOOD = "public, max-age=31536000, immutable"
# Nothing but this node's own files; no frame around it, no form to elsewhere; the camera for this page alone.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; connect-src 'self'; "
        "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), screen-wake-lock=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


@functools.cache
def files() -> dict[str, bytes]:
    """Contents by name."""
    return {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir()) if path.is_file()}


@functools.cache
def release() -> str:
    """Changes when a file or the page does."""
    content = [*files().values(), (FOLDER / "templates" / "kiosk.html").read_bytes()]
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in content)).hexdigest()[:12]


def url(name: str) -> str:
    """Where the browser finds a file."""
    return f"{URL}/{release()}/{name}"


def serve(tag: str, name: str) -> Response:
    """A file; one of another release is not kept. Raises Problem 404."""
    content = files().get(name)
    if content is None:
        raise Problem(404)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    answer = Response(content, content_type=f"{kind}; charset=utf-8")
    answer.headers["Cache-Control"] = FOR_GOOD if tag == release() else "no-store"
    return answer
