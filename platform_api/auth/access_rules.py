"""Who may touch what in this domain: people their own things, operators anybody's, services none of these routes."""

from __future__ import annotations

from platform_api.auth.members import not_found
from platform_api.auth.models import Member, is_id
from platform_api.core.schemas import etag
from platform_api.core.security import principal, same_member


def member_or_me(member_id: str) -> str:
    """The id of the path, `me` being the caller.

    Raises:
        Problem: 404 where it is somebody else's and the caller is no operator, and for what is no id at all.
    """
    wanted = principal().id if member_id == "me" else member_id.lower()
    same_member(wanted)
    if not is_id(wanted):
        raise not_found()
    return wanted


def tagged(member: Member) -> tuple[Member, int, dict[str, str]]:
    """A member as an answer with its ETag."""
    return member, 200, {"ETag": etag(member.version), "Cache-Control": "no-store"}
