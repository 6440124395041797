"""What is needed of all recipients of a message, read in four queries however many there are."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.notification import preferences
from platform_api.notification.kinds import CHANNEL_OF, Kind
from platform_api.notification.models import Device, EmailAddress, Member, Preference
from platform_api.notification.settings import settings


@dataclass(frozen=True)
class Recipient:
    """One of them: where they can be reached, and how they wish to be.

    Attributes:
        devices: id of each, and the channel that leads there.
    """

    member: Member
    wishes: preferences.Wishes
    devices: list[tuple[str, str]]
    has_address: bool

    @property
    def member_id(self) -> str:
        """Whose."""
        return self.member.member_id

    def channels(self, kind: Kind) -> frozenset[str]:
        """The channels by which a kind comes: wanted, in use, and leading somewhere. A wish for push is one for both kinds."""
        wanted = self.wishes.channels(kind)
        leading = {channel for _, channel in self.devices} if "push" in wanted else set()
        leading |= {"email"} if self.has_address and "email" in wanted else set()
        return settings().channels & leading


def of(session: Session, member_ids: Collection[str]) -> list[Recipient]:
    """The living among `member_ids` that are known here, in the order of their ids (in which rows are locked)."""
    wanted = sorted(set(member_ids))
    if not wanted:
        return []
    living = select(Member).where(Member.member_id.in_(wanted), Member.erased_at.is_(None)).order_by(Member.member_id)
    said = {row.member_id: row for row in session.scalars(select(Preference).where(Preference.member_id.in_(wanted)))}
    devices: dict[str, list[tuple[str, str]]] = defaultdict(list)
    found = select(Device.member_id, Device.device_id, Device.kind).where(Device.member_id.in_(wanted))
    for member_id, device_id, kind in session.execute(found):
        devices[member_id].append((device_id, CHANNEL_OF[kind]))
    proven = select(EmailAddress.member_id).where(
        EmailAddress.member_id.in_(wanted), EmailAddress.verified_at.is_not(None), EmailAddress.bounced_at.is_(None)
    )
    addresses = set(session.scalars(proven))
    return [
        Recipient(
            member,
            preferences.of(member, said.get(member.member_id)),
            devices[member.member_id],
            member.member_id in addresses,
        )
        for member in session.scalars(living)
    ]
