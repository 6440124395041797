"""E-mail addresses: given by the member, proven by a code that was sent there, sealed at rest.

An address is not told whose it is: that a code was sent is all anybody learns. Codes are few an hour, to one member and to
one address, so that nobody is flooded through us; they live shortly and stand few guesses.
"""

import hmac
import secrets
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.models import new_id
from platform_api.core.security import Principal, audit
from platform_api.notification import announcing, audience, members, vault
from platform_api.notification.announcing import Order
from platform_api.notification.kinds import CODE
from platform_api.notification.models import CodeSent, EmailAddress, Notification
from platform_api.notification.rendering import cut, render
from platform_api.notification.settings import settings

CODE_DIGITS = 6
_HOUR = timedelta(hours=1)


def give(session: Session, who: Principal, address: str) -> EmailAddress:
    """Take an address in the place of the one there was, and send a code to it.

    Raises:
        Problem: 409 `email_off`; 429 `too_many_codes`.
    """
    members.must_not_be_erased(session, who.id)
    if "email" not in settings().channels:
        raise Problem(409, "email_off", "이메일 알림을 쓰지 않는 설치입니다.", "E-mail is not in use here.")
    digest = vault.address_hash(address)
    _check_limits(session, who.id, digest)
    kept = session.get(EmailAddress, who.id, with_for_update=True)
    if kept is None:
        kept = EmailAddress(member_id=who.id)
        session.add(kept)
    code = "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))
    kept.address_sealed, kept.address_hash = vault.seal(address, "email", who.id), digest
    kept.hint, kept.verified_at, kept.bounced_at = hint(address), None, None
    kept.code_sealed = vault.seal(code, "code", who.id)
    kept.code_until = clock.now() + timedelta(minutes=settings().notification_code_minutes)
    kept.code_tries = 0
    sent = CodeSent(code_id=new_id(), member_id=who.id, address_hash=digest)
    session.add(sent)
    session.flush()
    _send(session, who.id, sent.code_id)
    audit.record(session, who.id, "email.give", who.id)
    return kept


def prove(session: Session, who: Principal, code: str) -> EmailAddress:
    """Check the code that came by mail; from then on the address is used.

    Raises:
        Problem: 409 `no_code` none waits, 410 `code_expired`, 422 `code_wrong`, 429 `code_tries` too many guesses.
    """
    kept = session.get(EmailAddress, who.id, with_for_update=True)
    if kept is None or kept.code_sealed is None or kept.code_until is None:
        raise Problem(409, "no_code", "먼저 이메일 주소를 등록하세요.", "Give an address first.")
    if kept.code_until <= clock.now():
        raise Problem(
            410, "code_expired", "코드가 만료되었습니다. 새 코드를 받으세요.", "The code has expired; get a new one."
        )
    if kept.code_tries >= settings().notification_code_tries:
        raise Problem(
            429, "code_tries", "시도 횟수를 넘었습니다. 새 코드를 받으세요.", "Too many guesses; get a new code."
        )
    if not hmac.compare_digest(vault.unseal(kept.code_sealed, "code", who.id), code):
        kept.code_tries += 1
        raise Problem(422, "code_wrong", "코드가 맞지 않습니다.", "That is not the code.", commit=True)
    kept.verified_at, kept.code_sealed, kept.code_until = clock.now(), None, None
    audit.record(session, who.id, "email.prove", who.id)
    return kept


def take_back(session: Session, who: Principal) -> None:
    """Delete the caller's address; may be repeated."""
    kept = session.get(EmailAddress, who.id, with_for_update=True)
    if kept is not None:
        session.delete(kept)
        audit.record(session, who.id, "email.remove", who.id)


def hint(address: str) -> str:
    """What its owner knows it by, and nobody else."""
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{cut(domain, 80)}"


def forget(session: Session) -> None:
    """Delete what the limits do not count any more, and codes that nobody entered."""
    session.execute(delete(CodeSent).where(CodeSent.at < clock.now() - _HOUR))
    session.execute(
        update(EmailAddress)
        .where(EmailAddress.code_until < clock.now(), EmailAddress.code_sealed.is_not(None))
        .values(code_sealed=None, code_until=None)
    )


def _send(session: Session, member_id: str, code_id: str) -> None:
    """Queue the mail. The code itself stays sealed: the sender puts it in."""
    recipient = audience.of(session, [member_id])[0]
    title, _ = render("email_code", recipient.wishes.reader, {"code": "", "minutes": 0})
    notification = Notification(
        event_key=f"code:{code_id}",
        member_id=member_id,
        kind=CODE.name,
        urgent=CODE.urgent,
        hidden=True,
        title=title,
        body="",
        data={},
        occurred_at=clock.now(),
    )
    session.add(notification)
    session.flush()
    announcing.queue(session, [Order(notification, CODE, recipient, clock.now(), {"email"})])
    announcing.wake(session)


def _check_limits(session: Session, member_id: str, digest: str) -> None:
    most = settings().notification_codes_per_hour
    recent = CodeSent.at >= clock.now() - _HOUR
    for mine in (CodeSent.member_id == member_id, CodeSent.address_hash == digest):
        if (session.scalar(select(func.count()).where(recent, mine)) or 0) >= most:
            raise Problem(
                429,
                "too_many_codes",
                "코드를 너무 자주 요청했습니다. 한 시간 뒤에 다시 시도하세요.",
                "Too many codes were asked for; try again in an hour.",
                headers={"Retry-After": "3600"},
            )
