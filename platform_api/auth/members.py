"""Accounts: registration, profile, roles and status."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from prometheus_client import Counter
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils import uuid4

from platform_api.auth import announcing, revocations, sessions, vault
from platform_api.auth.card import Card, verify_card
from platform_api.auth.models import CardIdentity, Member, is_id
from platform_api.auth.passwords import check_password, hash_password, verify_password
from platform_api.auth.settings import settings
from platform_api.auth.throttle import Attempt
from platform_api.core.clock import now
from platform_api.core.database import on_commit
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security.audit import record

REGISTERED = Counter("smartfit_members_registered_total", "Members who signed up")


@dataclass(frozen=True)
class Registration:
    """What a newcomer tells. Nothing secret in its repr."""

    email: str = field(repr=False)
    password: str = field(repr=False)
    name: str = field(repr=False)
    phone: str = field(repr=False)
    birth_date: date = field(repr=False)
    language: str
    card: Card = field(repr=False)


def email_key(email: str) -> str:
    """The form under which an e-mail address is unique: NFKC, case-folded."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def register(session: Session, wanted: Registration) -> Member:
    """Create a customer whose card vouches for them.

    The card is checked before the address, so that only the holder of a card can learn that an address is taken.

    Raises:
        Problem: 422 `under_age`, 422 `password_weak`, 422 `card_declined`, 503 `card_unavailable`, 409 `email_taken`.
    """
    _check_age(wanted.birth_date)
    check_password(wanted.password, wanted.email)
    token = verify_card(wanted.card, idempotency_key=str(uuid4()))
    member = Member(
        id=new_id(),
        email=wanted.email.strip(),
        email_key=email_key(wanted.email),
        password_hash=hash_password(wanted.password),
        name=wanted.name,
        phone=wanted.phone,
        birth_date=wanted.birth_date,
        language=wanted.language,
        roles=["customer"],
        branch_ids=[],
    )
    session.add(member)
    _flush_unique(session)
    sealed = vault.envelope().seal(token.encode(), vault.card_context(member.id))
    session.add(CardIdentity(member_id=member.id, token_sealed=sealed))
    announcing.member_registered(session, member)
    record(session, member.id, "member.registered", member.id)
    on_commit(session, REGISTERED.inc)
    return member


def _check_age(born: date) -> None:
    least, today = settings().least_age, now().date()
    if today.year - born.year - ((today.month, today.day) < (born.month, born.day)) < least:
        raise Problem(
            422,
            "under_age",
            f"만 {least}세부터 혼자 가입할 수 있습니다. 보호자와 함께 고객센터에 문의하세요.",
            f"You may sign up alone from the age of {least}; ask support, together with a guardian.",
            errors={"json": {"birth_date": [f"Members are at least {least} years old."]}},
        )


def get(session: Session, member_id: str) -> Member:
    """The member.

    Raises:
        Problem: 404, also for what is no id at all.
    """
    return _found(session, member_id, for_update=False)


def lock(session: Session, member_id: str) -> Member:
    """The member, with the row held until the transaction ends.

    Raises:
        Problem: 404.
    """
    return _found(session, member_id, for_update=True)


def _found(session: Session, member_id: str, *, for_update: bool) -> Member:
    member = session.get(Member, member_id, with_for_update=for_update or None) if is_id(member_id) else None
    if member is None:
        raise not_found()
    return member


def not_found() -> Problem:
    """What is said of a member who is not there."""
    return Problem(404, "member_not_found", "회원을 찾을 수 없습니다.", "There is no such member.")


def find(session: Session, email: str | None, cursor: str | None, limit: int) -> tuple[list[Member], str | None]:
    """Members, newest first; with `email`, the one of that address."""
    query = select(Member)
    if email:
        query = query.where(Member.email_key == email_key(email))
    return page(session, query, [Member.id], cursor, limit)


def confirm(session: Session, member: Member, password: str, address: str | None, refused: str) -> str:
    """Have the member's password said once more; guesses count as failed logins do. Ends the transaction so far.

    Args:
        refused: the action under which a wrong one is kept in the audit trail.

    Returns:
        The hash that it was held against.

    Raises:
        Problem: 403 `password_wrong`, 429 `login_locked`.
    """
    attempt = Attempt(member.email_key, address)
    attempt.begin()
    member_id, known = member.id, member.password_hash
    # Hashing is slow on purpose; no connection is held meanwhile.
    session.commit()
    if not verify_password(password, known):
        record(session, member_id, refused, member_id, {"why": "password"})
        raise _password_wrong()
    attempt.succeeded(session)
    return known


def change_profile(
    session: Session, member_id: str, changes: dict[str, Any], actor: str, *, if_match: str | None, address: str | None
) -> Member:
    """Change name, phone, language or e-mail; a new e-mail needs the present password (`current_password`).

    Raises:
        Problem: 403 `password_wrong`, 404, 409 `email_taken`, 412 changed since, 428, 429 `login_locked`.
    """
    changes = dict(changes)
    password = changes.pop("current_password", None) or ""
    known = None
    if "email" in changes:
        asked = get(session, member_id)
        check_match(if_match, asked.version, required=True)
        known = confirm(session, asked, password, address, "member.change_refused")
    member = lock(session, member_id)
    check_match(if_match, member.version, required=True)
    if known is not None:
        _refuse_changed(member, known)
        member.email_key = email_key(changes["email"])
        changes["email"] = changes["email"].strip()
    for name, value in changes.items():
        setattr(member, name, value)
    _flush_unique(session)
    if changes:
        announcing.member_changed(session, member)
        record(session, actor, "member.changed", member.id, {"fields": sorted(changes)})
    return member


def change_password(
    session: Session, member_id: str, current: str, new: str, actor: str, *, address: str | None
) -> None:
    """Set a new password and end every session.

    Raises:
        Problem: 403 `password_wrong`, 404, 422 `password_weak`, 429 `login_locked`.
    """
    known = confirm(session, get(session, member_id), current, address, "password.change_refused")
    member = lock(session, member_id)
    _refuse_changed(member, known)
    check_password(new, member.email)
    member.password_hash = hash_password(new)
    sessions.revoke_all(session, member.id, "password_changed")
    record(session, actor, "password.changed", member.id)


def _refuse_changed(member: Member, known: str) -> None:
    # Somebody else set another password since it was said.
    if member.password_hash != known:
        raise _password_wrong()


def set_roles(session: Session, member: Member, roles: list[str], branch_ids: list[str], actor: str) -> Member:
    """Set what a member may act as.

    Raises:
        Problem: 422 `roles_invalid`, 409 `last_operator`.
    """
    if ("branch_manager" in roles) != bool(branch_ids):
        raise Problem(
            422,
            "roles_invalid",
            "지점 관리자에게는 지점이, 지점에는 지점 관리자 역할이 필요합니다.",
            "A branch manager needs branch_ids, and branch_ids need that role.",
        )
    if "operator" not in roles:
        keep_an_operator(session, member)
    before = sorted(member.roles)
    member.roles, member.branch_ids = sorted(set(roles)), sorted(set(branch_ids))
    announcing.member_changed(session, member)
    # Tokens name the roles; those of before are good for nothing now.
    revocations.revoke_before(session, member.id, member.version)
    details = {"before": before, "after": member.roles, "branch_ids": member.branch_ids}
    record(session, actor, "roles.changed", member.id, details)
    return member


def set_status(session: Session, member: Member, status: str, reason: str, actor: str) -> Member:
    """Suspend a member (every session ends) or take that back.

    Raises:
        Problem: 409 `last_operator`.
    """
    if status == "suspended":
        keep_an_operator(session, member)
        sessions.revoke_all(session, member.id, "suspended")
    if status != member.status:
        member.status = status
        announcing.member_changed(session, member)
        revocations.revoke_before(session, member.id, member.version)
        record(session, actor, "status.changed", member.id, {"status": status, "reason": reason})
    return member


def keep_an_operator(session: Session, leaving: Member) -> None:
    """Refuse what would leave the platform without an active operator.

    Raises:
        Problem: 409 `last_operator`.
    """
    if "operator" not in leaving.roles:
        return
    others = select(func.count()).where(
        Member.roles.contains(["operator"]), Member.status == "active", Member.id != leaving.id
    )
    if not session.scalar(others):
        raise Problem(
            409,
            "last_operator",
            "마지막 운영자입니다. 먼저 다른 운영자를 지정하세요.",
            "This is the last operator; name another one first.",
        )


def _flush_unique(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        # `from None`: the database's message holds the values.
        raise Problem(
            409,
            "email_taken",
            "이 이메일로는 가입할 수 없습니다. 이미 회원이면 로그인하세요.",
            "This address cannot be used; if it is yours, sign in.",
        ) from None


def _password_wrong() -> Problem:
    return Problem(
        403, "password_wrong", "현재 비밀번호가 맞지 않습니다.", "The present password is not right.", commit=True
    )
