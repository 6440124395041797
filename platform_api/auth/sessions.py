"""Signing in and staying so: short access tokens, refresh tokens that are good once, service tokens.

A refresh token is opaque and random, and stored as its SHA-256. Each use gives a new one; a second use of an old one
means that two parties hold it, so the whole family is revoked (RFC 9700 section 4.14.2). Access tokens end by themselves
after a quarter of an hour, and with their family (see revocations).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from platform_api.auth import networks, revocations
from platform_api.auth.models import LoginSession, Member, RefreshToken, ServiceClient, is_id
from platform_api.auth.passwords import hash_password, needs_rehash, verify_password
from platform_api.auth.settings import settings
from platform_api.auth.throttle import Attempt
from platform_api.core.clock import now
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.pagination import page
from platform_api.core.security.audit import record
from platform_api.core.security.tokens import LIFE, issue_access_token

ENDED_KEPT = timedelta(days=30)
ACCESS_LIFE_S = int(LIFE.total_seconds())


@dataclass(frozen=True)
class Tokens:
    """What signing in gives."""

    access_token: str = field(repr=False)
    expires_in: int
    refresh_token: str | None = field(default=None, repr=False)
    member_id: str | None = None
    token_type: str = "Bearer"  # noqa: S105 (the name of a kind)


def login(session: Session, email: str, password: str, *, address: str | None, user_agent: str | None) -> Tokens:
    """Sign in. Takes as long for an unknown address as for a wrong password, and answers the same.

    Raises:
        Problem: 401 `login_failed`, 429 `login_locked`, 403 `account_suspended`.
    """
    attempt = Attempt(email, address)
    attempt.begin()
    member = session.scalar(select(Member).where(Member.email_key == email))
    known = member.password_hash if member else None
    # Hashing is slow on purpose; no connection is held meanwhile.
    session.commit()
    if not verify_password(password, known) or member is None:
        who = member.id if member else "unknown"
        record(session, who, "login.failed", who, {"network": networks.pseudonym(address)})
        raise Problem(
            401, "login_failed", "이메일이나 비밀번호가 맞지 않습니다.", "E-mail or password is wrong.", commit=True
        )
    attempt.succeeded(session)
    if member.status != "active":
        raise _suspended()
    if needs_rehash(member.password_hash):
        session.execute(
            update(Member)
            .where(Member.id == member.id, Member.password_hash == known)
            .values(password_hash=hash_password(password))
        )
    return _open(session, member, user_agent)


def _open(session: Session, member: Member, user_agent: str | None) -> Tokens:
    session.execute(
        delete(LoginSession).where(LoginSession.member_id == member.id, LoginSession.expires_at < now() - ENDED_KEPT)
    )
    family = LoginSession(
        id=new_id(), member_id=member.id, user_agent=(user_agent or "")[:200] or None, expires_at=_ends_at()
    )
    session.add(family)
    session.flush()
    record(session, member.id, "login.succeeded", member.id, {"session_id": family.id})
    return _issue(session, member, family)


def _issue(session: Session, member: Member, family: LoginSession) -> Tokens:
    token = secrets.token_urlsafe(32)
    family.expires_at = _ends_at()
    family.last_used_at = now()
    session.add(RefreshToken(token_hash=_digest(token), session_id=family.id, expires_at=family.expires_at))
    access = issue_access_token(member.id, member.roles, member.branch_ids, {"sid": family.id, "ver": member.version})
    return Tokens(access, ACCESS_LIFE_S, token, member.id)


def refresh(session: Session, token: str) -> Tokens:
    """Exchange a refresh token for new tokens.

    Raises:
        Problem: 401 `refresh_invalid`; 401 `refresh_reused`, and the whole family is revoked; 403 `account_suspended`.
    """
    found = session.execute(
        select(RefreshToken, LoginSession)
        .join(LoginSession, LoginSession.id == RefreshToken.session_id)
        .where(RefreshToken.token_hash == _digest(token))
        .with_for_update()
    ).one_or_none()
    if found is None:
        raise _refresh_invalid()
    kept, family = found
    if kept.used_at is not None:
        _revoke(session, family, "reuse")
        record(session, family.member_id, "refresh.reused", family.member_id, {"session_id": family.id})
        raise Problem(
            401,
            "refresh_reused",
            "이미 사용된 토큰입니다. 안전을 위해 이 로그인을 모두 끝냈습니다. 다시 로그인하세요.",
            "This token was used before; for safety the whole session has ended. Sign in again.",
            commit=True,
        )
    if family.revoked_at is not None or kept.expires_at <= now():
        raise _refresh_invalid()
    member = session.get_one(Member, family.member_id)
    if member.status != "active":
        raise _suspended()
    kept.used_at = now()
    return _issue(session, member, family)


def logout(session: Session, token: str) -> None:
    """Revoke the family of a refresh token; an unknown one is nothing to complain about (RFC 7009 section 2.2)."""
    family = session.scalar(
        select(LoginSession)
        .join(RefreshToken, LoginSession.id == RefreshToken.session_id)
        .where(RefreshToken.token_hash == _digest(token))
        .with_for_update()
    )
    if family is not None and family.revoked_at is None:
        _revoke(session, family, "logout")
        record(session, family.member_id, "session.ended", family.member_id, {"session_id": family.id})


def revoke_session(session: Session, member_id: str, session_id: str, actor: str) -> None:
    """End one session of a member.

    Raises:
        Problem: 404 where it is not the member's.
    """
    theirs = select(LoginSession).where(LoginSession.id == session_id, LoginSession.member_id == member_id)
    family = session.scalar(theirs.with_for_update()) if is_id(session_id) else None
    if family is None:
        raise Problem(404)
    if family.revoked_at is None:
        _revoke(session, family, "revoked")
        record(session, actor, "session.revoked", member_id, {"session_id": session_id})


def revoke_all(session: Session, member_id: str, reason: str) -> None:
    """End every session of a member."""
    ended = session.execute(
        update(LoginSession)
        .where(LoginSession.member_id == member_id, LoginSession.revoked_at.is_(None))
        .values(revoked_at=now(), revoked_reason=reason)
        .returning(LoginSession.id, LoginSession.last_used_at)
    )
    # In a fixed order, lest two that end the same sessions wait for each other.
    for session_id, last_used_at in sorted(ended.all()):
        if last_used_at > now() - revocations.KEPT:
            revocations.revoke_session(session, session_id)


def of_member(
    session: Session, member_id: str, cursor: str | None, limit: int
) -> tuple[list[LoginSession], str | None]:
    """A member's sessions, newest first."""
    return page(
        session, select(LoginSession).where(LoginSession.member_id == member_id), [LoginSession.id], cursor, limit
    )


def service_token(session: Session, client_id: str, client_secret: str, *, address: str | None) -> Tokens:
    """A token for a service (client credentials, RFC 6749 section 4.4).

    Raises:
        Problem: 401 `client_invalid`, 429 `login_locked`.
    """
    attempt = Attempt(f"service\0{client_id}", address)
    attempt.begin()
    known = session.get(ServiceClient, client_id)
    enabled = known is not None and known.disabled_at is None
    session.commit()
    if not verify_password(client_secret, known.secret_hash if known and enabled else None):
        told = {"network": networks.pseudonym(address)}
        record(session, "unknown", "service_login.failed", "service_client", told)
        raise Problem(
            401, "client_invalid", "서비스 인증 정보가 맞지 않습니다.", "Unknown client or secret.", commit=True
        )
    attempt.succeeded(session)
    return Tokens(issue_access_token(client_id, ["service"]), ACCESS_LIFE_S)


def forget(session: Session, limit: int = 1000) -> int:
    """Delete sessions that ended a while ago, with their refresh tokens, and tokens that were used so long ago that a second
    use tells of no theft any more. Returns how many of both."""
    before = now() - ENDED_KEPT
    over = (LoginSession.expires_at < before) | (LoginSession.revoked_at < before)
    ended = select(LoginSession.id).where(over).limit(limit)
    used = select(RefreshToken.token_hash).where(RefreshToken.expires_at < before).limit(limit)
    gone = session.scalars(delete(LoginSession).where(LoginSession.id.in_(ended)).returning(LoginSession.id)).all()
    spent = delete(RefreshToken).where(RefreshToken.token_hash.in_(used)).returning(RefreshToken.session_id)
    return len(gone) + len(session.scalars(spent).all())


def _ends_at() -> datetime:
    return now() + timedelta(seconds=settings().refresh_token_ttl_s)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _revoke(session: Session, family: LoginSession, reason: str) -> None:
    if family.revoked_at is None:
        family.revoked_at, family.revoked_reason = now(), reason
        revocations.revoke_session(session, family.id)


def _refresh_invalid() -> Problem:
    return Problem(
        401, "refresh_invalid", "로그인이 끝났습니다. 다시 로그인하세요.", "This session has ended; sign in again."
    )


def _suspended() -> Problem:
    return Problem(
        403,
        "account_suspended",
        "이용이 정지된 계정입니다. 지점에 문의하세요.",
        "This account is suspended; ask at your branch.",
    )
