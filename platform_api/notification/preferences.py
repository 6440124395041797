"""How a member wants to be told: language, time zone, quiet hours, and by which channel each kind comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core.errors import Problem
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.notification import members, quiet
from platform_api.notification.kinds import CODE, KINDS, Kind
from platform_api.notification.models import EmailAddress, Member, Preference
from platform_api.notification.rendering import Reader
from platform_api.notification.settings import settings


@dataclass(frozen=True)
class Wishes:
    """What holds for a member: what they said, and the defaults for the rest. Version 0: they have said nothing."""

    language: str
    timezone: str
    quiet_from: str | None
    quiet_until: str | None
    chosen: Mapping[str, Mapping[str, bool]]
    version: int = 0
    own_language: str | None = None

    @property
    def reader(self) -> Reader:
        """For whom texts are made."""
        return Reader(self.language, self.timezone)

    def channels(self, kind: Kind) -> frozenset[str]:
        """The channels by which a kind comes."""
        said = self.chosen.get(kind.name, {})
        wanted = {"push": kind.required or said.get("push", kind.push), "email": said.get("email", kind.email)}
        if kind is CODE:
            wanted = {"push": False, "email": True}
        return frozenset(channel for channel, yes in wanted.items() if yes)

    def quiet_ends(self, now: datetime) -> datetime | None:
        """When the quiet hours end that `now` lies in; None outside them."""
        return quiet.ends(now, self.timezone, self.quiet_from, self.quiet_until)

    def kinds(self) -> dict[str, dict[str, bool]]:
        """Every kind, with the channels by which it comes."""
        return {
            name: {channel: channel in self.channels(kind) for channel in ("push", "email")}
            for name, kind in KINDS.items()
        }


def of(member: Member, said: Preference | None) -> Wishes:
    """What holds for `member`, who said `said`."""
    if said is None:
        start, end = settings().default_quiet
        return Wishes(member.language, settings().notification_timezone, start, end, {})
    language = said.language or member.language
    return Wishes(
        language, said.timezone, said.quiet_from, said.quiet_until, said.kinds, said.version, own_language=said.language
    )


def get(session: Session, member_id: str) -> dict[str, Any]:
    """What a member sees: what holds, with the version for the ETag."""
    member = members.must_not_be_erased(session, member_id)
    return _shown(session, of(member, session.get(Preference, member_id)), member_id)


def put(session: Session, who: Principal, wanted: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """Replace all preferences of the caller.

    Raises:
        Problem: 412 changed since; 428 without If-Match; 422 `kind_required`, `quiet_incomplete`.
    """
    member = members.must_not_be_erased(session, who.id)
    said = session.get(Preference, who.id, with_for_update=True)
    check_match(if_match, said.version if said else 0, required=True)
    _check(wanted)
    if said is None:
        said = Preference(member_id=who.id, version=0, kinds={})
        session.add(said)
    said.language, said.timezone = wanted["language"], wanted["timezone"]
    said.quiet_from, said.quiet_until = wanted["quiet_from"], wanted["quiet_until"]
    said.kinds = {name: dict(channels) for name, channels in wanted["kinds"].items()}
    said.version += 1
    session.flush()
    audit.record(session, who.id, "preferences.change", who.id, {"version": said.version})
    return _shown(session, of(member, said), who.id)


def _check(wanted: Mapping[str, Any]) -> None:
    off = [name for name, said in wanted["kinds"].items() if KINDS[name].required and said.get("push") is False]
    if off:
        raise Problem(
            422,
            "kind_required",
            "장애와 계정 알림의 푸시는 끌 수 없습니다.",
            "Push of faults and of the account cannot be turned off.",
            kinds=off,
        )
    if (wanted["quiet_from"] is None) != (wanted["quiet_until"] is None):
        raise Problem(
            422,
            "quiet_incomplete",
            "방해 금지 시간은 시작과 끝을 함께 정하세요.",
            "Quiet hours need both their beginning and their end.",
        )


def _shown(session: Session, wishes: Wishes, member_id: str) -> dict[str, Any]:
    address = session.scalars(select(EmailAddress).where(EmailAddress.member_id == member_id)).one_or_none()
    return {
        "language": wishes.own_language,
        "timezone": wishes.timezone,
        "quiet_from": wishes.quiet_from,
        "quiet_until": wishes.quiet_until,
        "kinds": wishes.kinds(),
        "email": None
        if address is None
        else {
            "address": address.hint,
            "verified": address.verified_at is not None,
            "bounced": address.bounced_at is not None,
        },
        "version": wishes.version,
    }
