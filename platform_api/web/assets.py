"""Files the pages are made of: served from memory under names that change with their content, so browsers keep them for good."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, request

from platform_api.core.errors import Problem

FOLDER = Path(__file__).parent / "static"
FOR_GOOD = "public, max-age=31536000, immutable"

blueprint = Blueprint("assets", __name__)


@dataclass(frozen=True)
class Asset:
    """A file: its content, its type, and the tag of its content."""

    content: bytes
    kind: str
    tag: str


@functools.cache
def _assets() -> dict[str, Asset]:
    found = {}
    for file in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind == "application/javascript":
            kind += "; charset=utf-8"
        found[file.relative_to(FOLDER).as_posix()] = Asset(content, kind, hashlib.sha256(content).hexdigest()[:12])
    return found


def content(name: str) -> bytes:
    """Of the file `name` below static/. Raises KeyError."""
    return _assets()[name].content


def url(name: str) -> str:
    """Where the browser finds the file `name`. Raises KeyError for one that is not there."""
    return f"/app/static/{_assets()[name].tag}/{name}"


def release() -> str:
    """A tag of all files together: changes when one of them does."""
    return hashlib.sha256("".join(asset.tag for asset in _assets().values()).encode()).hexdigest()[:12]


@blueprint.get("/app/static/<tag>/<path:name>")
def file(tag: str, name: str) -> Response:
    """A file. One of an older release is answered by what it has become, and not kept."""
    asset = _assets().get(name)
    if asset is None:
        raise Problem(404)
    answer = Response(asset.content, content_type=asset.kind)
    answer.headers["Cache-Control"] = FOR_GOOD if tag == asset.tag else "no-cache"
    answer.set_etag(asset.tag)
    answer.make_conditional(request)
    return answer
