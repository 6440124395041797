"""Optimistic locking over HTTP: the version of an object is its ETag (RFC 9110 sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

from platform_api.core.errors import Problem


def etag(version: int) -> str:
    """The ETag of an object at `version`."""
    return f'"{version}"'


def check(if_match: str | None, version: int) -> None:
    """Raise 412 where the caller edits another version than the present one; an edit without If-Match is taken as it is."""
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version) not in {part.strip() for part in if_match.split(",")}:
        raise Problem(412, etag=etag(version))
