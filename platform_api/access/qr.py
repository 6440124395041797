"""QR passes: signed by the centre, shown by the app, verified at the gate without the network.

A pass is a compact JWS (RFC 7515, EdDSA): header kid; claims typ "gate-pass", sub, branch_id, jti, iat, nbf, exp. It
lives 30 s; that it is used once is the edge's care.

Keys are made here, sealed under the key ring, and never leave. A new key is published to the edges well before it signs
(`SMARTFIT_QR_KEY_LEAD_HOURS`), so that an edge cut off in the meantime still knows it; only the very first signs at
once. A former key goes once its successor has signed for longer than a pass lives.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt
import segno
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from platform_api.access import branches, feed, members, memberships, rules
from platform_api.access.gallery import envelope
from platform_api.access.models import EVERY_BRANCH, QrKey, QrPass
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security import Principal, audit

TYPE = "gate-pass"
FORMATS = {"png": "image/png", "svg": "image/svg+xml"}
_KEY_LOCK = 0x5F18
_GRACE = timedelta(hours=1)

_REFUSALS = {
    "membership_none": (409, "이용권이 없습니다. 이용권을 구매하세요.", "You have no membership; buy one first."),
    "branch_not_allowed": (
        409,
        "이 지점을 이용할 수 없는 이용권입니다.",
        "Your membership does not cover this branch.",
    ),
    "membership_expired": (409, "이용권이 만료되었습니다. 연장하세요.", "Your membership has ended; renew it."),
    "membership_not_started": (409, "아직 이용 기간이 아닙니다.", "Your membership has not begun yet."),
    "membership_frozen": (409, "정지된 이용권입니다. 정지를 해제하세요.", "Your membership is frozen."),
    "blocked_unpaid": (403, "미납으로 이용이 제한되었습니다. 결제하세요.", "Blocked for an unpaid fee; please pay it."),
    "blocked_banned": (
        403,
        "이용이 제한된 회원입니다. 고객센터에 문의하세요.",
        "You may not use our branches; ask support.",
    ),
}


@dataclass(frozen=True)
class Pass:
    """An issued pass."""

    token: str
    jti: str
    branch_id: str
    expires_at: datetime


def issue(session: Session, who: Principal, branch_id: str) -> Pass:
    """A pass for the caller, for one branch, from now on for `SMARTFIT_QR_LIFE_S`.

    Hours, capacity and anti-passback are judged at the gate; that no membership opens the branch today is told here.

    Raises:
        Problem: 403 or 409 with the membership's reason code; 404 no such branch; 429.
    """
    branch = branches.get(session, branch_id)
    member = members.lock(session, who.id)
    now = clock.now()
    if member.erased_at is not None or member.status == "suspended":
        raise _refused("blocked_banned")
    terms = [memberships.terms(row) for row in memberships.of_member(session, who.id)]
    reason = rules.standing(terms, branch_id, now, branch.timezone)
    if reason is not None:
        raise _refused(reason)
    _refuse_flood(session, who.id, now)
    made = QrPass(jti=new_id(), member_id=who.id, branch_id=branch_id, issued_at=now)
    session.add(made)
    key = signing_key(session)
    seconds = int(now.timestamp())
    expires = seconds + settings().qr_life_s
    claims = {
        "typ": TYPE, "sub": who.id, "branch_id": branch_id, "jti": made.jti, "iat": seconds, "nbf": seconds, "exp": expires,
    }  # fmt: skip
    token = jwt.encode(claims, _private(key), algorithm="EdDSA", headers={"kid": key.kid})
    return Pass(token, made.jti, branch_id, datetime.fromtimestamp(expires, now.tzinfo))


def picture(token: str, kind: str) -> bytes:
    """The token as a QR code (error correction M), `kind` png or svg."""
    out = io.BytesIO()
    segno.make(token, error="m", micro=False).save(out, kind=kind, scale=6, border=4)
    return out.getvalue()


def signing_key(session: Session) -> QrKey:
    """The key that signs now; the very first is made here."""
    newest = select(QrKey).where(QrKey.active_from <= clock.now()).order_by(QrKey.active_from.desc(), QrKey.kid.desc())
    key = session.scalars(newest.limit(1)).first()
    if key is None:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _KEY_LOCK})
        key = session.scalars(newest.limit(1)).first() or _make(session, clock.now())
    return key


def rotate(session: Session, actor: str = "system") -> QrKey:
    """Publish a new key, which signs after the lead time. Where one is waiting already, that is returned."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _KEY_LOCK})
    waiting = session.scalars(select(QrKey).where(QrKey.active_from > clock.now())).first()
    if waiting is not None:
        return waiting
    first = session.scalar(select(func.count()).select_from(QrKey)) == 0
    lead = timedelta() if first else timedelta(hours=settings().qr_key_lead_hours)
    key = _make(session, clock.now() + lead)
    audit.record(session, actor, "qr_key.rotate", key.kid, {"active_from": key.active_from.isoformat()})
    return key


def keep_keys(session: Session) -> None:
    """Maintenance: publish a successor of a key grown old, and drop keys that sign no more."""
    now = clock.now()
    current = signing_key(session)
    if now - current.active_from > timedelta(days=settings().qr_key_days):
        rotate(session)
    if now - current.active_from > _GRACE:
        former = list(session.scalars(select(QrKey).where(QrKey.active_from < current.active_from)))
        feed.touch(session, "qr_key", [key.kid for key in former], [EVERY_BRANCH], deleted=True)
        for key in former:
            session.delete(key)


def _make(session: Session, active_from: datetime) -> QrKey:
    private = Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    kid = new_id()
    secret = private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    key = QrKey(
        kid=kid,
        public_key=private.public_key().public_bytes(raw, serialization.PublicFormat.Raw),
        private_sealed=envelope().seal(secret, key_context(kid)),
        active_from=active_from,
    )
    session.add(key)
    session.flush()
    feed.touch(session, "qr_key", [kid], [EVERY_BRANCH])
    return key


def _private(key: QrKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(envelope().open(bytes(key.private_sealed), key_context(key.kid)))


def key_context(kid: str) -> bytes:
    """What a key's sealing is bound to."""
    return f"access/qr_key/{kid}".encode()


def _refuse_flood(session: Session, member_id: str, now: datetime) -> None:
    """The member's row is locked, so that requests side by side are counted one after the other."""
    limit = settings().qr_passes_per_minute
    recent = select(QrPass.issued_at).where(
        QrPass.member_id == member_id, QrPass.issued_at > now - timedelta(minutes=1)
    )
    issued = list(session.scalars(recent.order_by(QrPass.issued_at.desc()).limit(limit)))
    if len(issued) >= limit:
        wait = max(1, 60 - int((now - issued[-1]).total_seconds()))
        raise Problem(
            429, "too_many_passes", "출입증을 너무 자주 요청했습니다. 잠시 후 다시 시도하세요.", "Too many passes; wait a moment.",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip


def _refused(reason: str) -> Problem:
    status, ko, en = _REFUSALS[reason]
    return Problem(status, reason, ko, en)
