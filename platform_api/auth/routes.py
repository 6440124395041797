"""HTTP of the auth domain: members and their consents here; sign-in and faces in modules of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import Flask

from platform_api.auth import (
    access_client,
    consents,
    erasure,
    members,
    networks,
    passwords,
    revocations,
    routes_exports,
    routes_faces,
    routes_sessions,
    schemas,
    vault,
)
from platform_api.auth import card as card_module
from platform_api.auth.access_rules import member_or_me, tagged
from platform_api.auth.models import Member
from platform_api.auth.settings import settings
from platform_api.auth.throttle import count_registration
from platform_api.auth.turnstile import enrolments, sign_ins
from platform_api.core.addresses import caller_address
from platform_api.core.schemas import PEOPLE, IfMatch, PageQuery
from platform_api.core.security import principal, require, revocation
from platform_api.core.uploads import small_body
from platform_api.core.web import blueprint, current_session, transaction

P = ParamSpec("P")
R = TypeVar("R")

blp = blueprint("auth", "/auth/v1", "Members: registration, profile, roles, consents")
blueprints = [blp, *routes_sessions.blueprints, *routes_faces.blueprints, *routes_exports.blueprints]
for each in blueprints:
    each.before_request(small_body)


def init_app(app: Flask) -> None:
    """Read the settings anew, so that a wrong one stops the process at its start.

    Raises:
        SettingsError: names each wrong setting.
    """
    for cached in (
        settings,
        networks.pseudonyms,
        vault.envelope,
        vault.store,
        card_module.card_service,
        access_client.access_service,
        access_client.issuer,
        access_client.domain_service,
    ):
        cached.cache_clear()
    passwords.forget_parameters()
    enrolments.reset()
    sign_ins.reset()
    card_module.checks.reset()
    app.extensions[revocation.EXTENSION] = revocation.Revocations(revocations.since)
    settings()
    vault.envelope()
    vault.store()


def limited_by_address(function: Callable[P, R]) -> Callable[P, R]:
    """Count a registration before anything else is done for it."""

    @functools.wraps(function)
    def counted(*args: P.args, **kwargs: P.kwargs) -> R:
        count_registration(caller_address())
        return function(*args, **kwargs)

    return counted


@blp.post("/members")
@limited_by_address
@transaction("auth", idempotent=True)
@blp.arguments(schemas.RegistrationSchema)
@blp.response(201, schemas.RegisteredSchema)
def register(wanted: members.Registration) -> Member:
    """Register, with a card that confirms who you are (its number is neither kept nor logged)."""
    return members.register(current_session(), wanted)


@blp.get("/members")
@require("operator")
@transaction("auth")
@blp.arguments(schemas.MemberQuery, location="query")
@blp.response(200, schemas.MemberPage)
def list_members(query: dict[str, Any]) -> dict[str, Any]:
    """Members, newest first; by e-mail where asked for."""
    items, cursor = members.find(current_session(), **query)
    return {"items": items, "next_cursor": cursor}


@blp.get("/members/<member_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.response(200, schemas.MemberSchema)
def show(member_id: str) -> tuple[Member, int, dict[str, str]]:
    """A profile, with its ETag."""
    return tagged(members.get(current_session(), member_or_me(member_id)))


@blp.patch("/members/<member_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(schemas.ProfileChangeSchema)
@blp.arguments(IfMatch, location="headers")
@blp.response(200, schemas.MemberSchema)
def change(changes: dict[str, Any], headers: dict[str, Any], member_id: str) -> tuple[Member, int, dict[str, str]]:
    """Change a profile; needs If-Match."""
    told = {"if_match": headers["if_match"], "address": caller_address()}
    return tagged(members.change_profile(current_session(), member_or_me(member_id), changes, principal().id, **told))


@blp.delete("/members/<member_id>")
@require(*PEOPLE)
@transaction("auth")
@blp.response(204)
def erase(member_id: str) -> None:
    """Erase a member and all that is held of them, everywhere. It cannot be undone."""
    erasure.erase(current_session(), member_or_me(member_id), principal().id)


@blp.put("/members/<member_id>/password")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(schemas.PasswordChangeSchema)
@blp.response(204)
def change_password(passwords_: dict[str, str], member_id: str) -> None:
    """Set a new password; every session ends."""
    current, new = passwords_["current_password"], passwords_["new_password"]
    wanted = member_or_me(member_id)
    members.change_password(current_session(), wanted, current, new, principal().id, address=caller_address())


@blp.put("/members/<member_id>/roles")
@require("operator")
@transaction("auth")
@blp.arguments(schemas.RolesSchema)
@blp.response(200, schemas.MemberSchema)
def set_roles(wanted: dict[str, Any], member_id: str) -> tuple[Member, int, dict[str, str]]:
    """Say what a member may act as; in force with their next access token."""
    member = members.lock(current_session(), member_or_me(member_id))
    return tagged(members.set_roles(current_session(), member, **wanted, actor=principal().id))


@blp.put("/members/<member_id>/status")
@require("operator")
@transaction("auth")
@blp.arguments(schemas.StatusSchema)
@blp.response(200, schemas.MemberSchema)
def set_status(wanted: dict[str, str], member_id: str) -> tuple[Member, int, dict[str, str]]:
    """Suspend a member, or take that back."""
    member = members.lock(current_session(), member_or_me(member_id))
    return tagged(members.set_status(current_session(), member, **wanted, actor=principal().id))


@blp.get("/members/<member_id>/consents")
@require(*PEOPLE)
@transaction("auth")
@blp.arguments(PageQuery, location="query")
@blp.response(200, schemas.ConsentPage)
def list_consents(query: dict[str, Any], member_id: str) -> dict[str, Any]:
    """All that the member agreed to or refused, newest first."""
    member = members.get(current_session(), member_or_me(member_id))
    items, cursor = consents.history(current_session(), member.id, **query)
    return {"items": items, "next_cursor": cursor}


@blp.post("/members/<member_id>/consents")
@require(*PEOPLE)
@transaction("auth", idempotent=True)
@blp.arguments(schemas.ConsentChangeSchema)
@blp.response(201, schemas.ConsentSchema)
def add_consent(said: dict[str, Any], member_id: str) -> Any:
    """Agree, or take it back; refusing `face` withdraws the enrolled face at once."""
    return consents.record_consent(current_session(), member_or_me(member_id), **said, actor=principal().id)
