"""HTTP of memberships."""

from __future__ import annotations

from typing import Any

from platform_api.access import memberships, schemas
from platform_api.access.models import Membership
from platform_api.core.schemas import PEOPLE, IfMatch, tagged
from platform_api.core.security import principal, require
from platform_api.core.web import blueprint, current_session, transaction

blp = blueprint("memberships", "/access/v1/memberships", "Memberships: who may enter which branches, and when")
blueprints = [blp]

STAFF = ("operator", "branch_manager", "service")
Answer = tuple[Membership, int, dict[str, str]]


def _answer(membership: Membership, status: int = 200) -> Answer:
    return tagged(membership, membership.version, status)


@blp.post("")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.NewMembership)
@blp.response(201, schemas.MembershipSchema)
def create(wanted: dict[str, Any]) -> Answer:
    """Give a member the right to enter."""
    return _answer(memberships.create(current_session(), principal(), wanted.pop("member_id"), wanted), 201)


@blp.get("")
@require(*PEOPLE, "service")
@transaction("access")
@blp.arguments(schemas.MembershipQuery, location="query")
@blp.response(200, schemas.MembershipPage)
def of_member(query: dict[str, Any]) -> dict[str, Any]:
    """A member's memberships: your own, or those you may see."""
    found = memberships.visible(current_session(), principal(), query["member_id"] or principal().id)
    return {"items": found, "next_cursor": None}


@blp.get("/<membership_id>")
@require(*PEOPLE, "service")
@transaction("access")
@blp.response(200, schemas.MembershipSchema)
def get(membership_id: str) -> Answer:
    """One membership, with its ETag."""
    return _answer(memberships.get(current_session(), principal(), membership_id))


@blp.patch("/<membership_id>")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.MembershipChange)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.MembershipSchema)
def change(wanted: dict[str, Any], headers: dict[str, Any], membership_id: str) -> Answer:
    """Change some fields."""
    return _answer(memberships.change(current_session(), principal(), membership_id, wanted, headers["if_match"]))


@blp.post("/<membership_id>/freeze")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.FreezeSchema)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.MembershipSchema)
def freeze(wanted: dict[str, Any], headers: dict[str, Any], membership_id: str) -> Answer:
    """Let a membership rest for some days."""
    start, end = wanted["start"], wanted["end"]
    return _answer(memberships.freeze(current_session(), principal(), membership_id, start, end, headers["if_match"]))


@blp.post("/<membership_id>/block")
@require(*STAFF)
@transaction("access", idempotent=True)
@blp.arguments(schemas.BlockSchema)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.MembershipSchema)
def block(wanted: dict[str, Any], headers: dict[str, Any], membership_id: str) -> Answer:
    """Block for an unpaid fee or a ban; null lifts the block."""
    who = principal()
    return _answer(memberships.block(current_session(), who, membership_id, wanted["reason"], headers["if_match"]))
