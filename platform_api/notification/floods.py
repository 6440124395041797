"""Against floods: in a window, one person is told so many things on one topic by themselves, and of the rest together.

A topic is the faults of a branch, or a kind. What is held back stands in the history at once; a digest, sent when the
window ends, says how many there were and names the first few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.notification.models import Flood
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


def count(session: Session, member_ids: Sequence[str], topic: Topic, now: datetime) -> dict[str, Flood]:
    """Count one more for each of `member_ids`. Returns the floods of those for whom it is held back, by member."""
    if not member_ids:
        return {}
    most, window_s = _limits(topic.urgent)
    until = now + timedelta(seconds=window_s)
    first = {"topic": topic.key, "window_until": until, "told": 1, "held": 0, "names": []}
    rows = [{"member_id": member_id, **first} for member_id in member_ids]
    statement = insert(Flood)
    over, room = Flood.window_until <= now, Flood.told < most
    counted = statement.on_conflict_do_update(
        index_elements=[Flood.member_id, Flood.topic],
        set_={
            "window_until": case((over, until), else_=Flood.window_until),
            "told": case((over, 1), (room, Flood.told + 1), else_=Flood.told),
            "held": case((over, 0), (room, 0), else_=Flood.held + 1),
            "names": case((over, statement.excluded.names), else_=Flood.names),
            "digest_id": case((over, None), else_=Flood.digest_id),
        },
    )
    floods = session.scalars(counted.returning(Flood), rows, execution_options={"populate_existing": True})
    return {flood.member_id: flood for flood in floods if flood.held}


def describe(flood: Flood, topic: Topic, reader: Reader, values: Mapping[str, Value]) -> tuple[str, str]:
    """Title and text of the digest, with one more name in it."""
    if len(flood.names) < NAMES_SHOWN:
        flood.names = [*flood.names, cut(read(topic.name, reader), NAME_LENGTH)]
    names = and_more(flood.names, flood.held, reader.language)
    return render(topic.digest, reader, {**values, "count": flood.held, "names": names})


def forget(session: Session, before: datetime) -> None:
    """Delete windows that ended before then."""
    session.execute(delete(Flood).where(Flood.window_until < before))


def _limits(urgent: bool) -> tuple[int, int]:
    known = settings()
    if urgent:
        return known.notification_flood_alerts, known.notification_flood_alerts_window_s
    return known.notification_flood_others, known.notification_flood_others_window_s
