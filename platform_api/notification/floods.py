"""Against floods: in a window, one person is told so many things on one topic by themselves, and of the rest together.

A topic is the faults of a branch, or a kind. What is held back stands in the history at once; a digest, sent when the
window ends, says how many there were and names the first few.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.notification.models import Flood, Notification
from platform_api.notification.rendering import Reader, Value, and_more, cut, read, render
from platform_api.notification.settings import settings

NAMES_SHOWN, NAME_LENGTH = 3, 24


@dataclass(frozen=True)
class Topic:
    """What counts together. `name`: what one of them is called in a digest, written by template `digest`."""

    key: str
    digest: str
    name: Value
    urgent: bool


def count(session: Session, member_id: str, topic: Topic, now: datetime) -> Flood | None:
    """Count one more. Returns None where it may be sent by itself, and the flood where it is held back."""
    most, window_s = _limits(topic.urgent)
    empty = {"window_until": now, "told": 0, "held": 0, "names": []}
    statement = insert(Flood).values(member_id=member_id, topic=topic.key, **empty)
    session.execute(statement.on_conflict_do_nothing())
    flood = session.get_one(Flood, (member_id, topic.key), with_for_update=True, populate_existing=True)
    if flood.window_until <= now:
        flood.window_until = now + timedelta(seconds=window_s)
        flood.told, flood.held, flood.names, flood.digest_id = 0, 0, [], None
    if flood.told < most:
        flood.told += 1
        return None
    flood.held += 1
    return flood


def describe(flood: Flood, topic: Topic, reader: Reader, values: Mapping[str, Value]) -> tuple[str, str]:
    """Title and text of the digest, with one more name in it."""
    if len(flood.names) < NAMES_SHOWN:
        flood.names = [*flood.names, cut(read(topic.name, reader), NAME_LENGTH)]
    names = and_more(flood.names, flood.held, reader.language)
    return render(topic.digest, reader, {**values, "count": flood.held, "names": names})


def digest_of(session: Session, flood: Flood) -> Notification | None:
    """The digest of the present window, where there is one."""
    return session.get(Notification, flood.digest_id) if flood.digest_id is not None else None


def forget(session: Session, before: datetime) -> None:
    """Delete windows that ended before then."""
    session.execute(delete(Flood).where(Flood.window_until < before))


def _limits(urgent: bool) -> tuple[int, int]:
    known = settings()
    if urgent:
        return known.notification_flood_alerts, known.notification_flood_alerts_window_s
    return known.notification_flood_others, known.notification_flood_others_window_s
