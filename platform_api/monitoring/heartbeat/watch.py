"""That somebody listens for heartbeats, and since when: an item is not missed for lines that nobody could take in."""

from datetime import datetime, timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.monitoring.models import Watch

NAME = "heartbeat"
GAP = timedelta(seconds=15)
"""Longer than this without a sign of a listener, and it counts as having been away."""


def keep_watch() -> None:
    """Note that a listener is there now; a new watch begins after a gap."""
    now = clock.now()
    with unit_of_work("monitoring") as session:
        found = session.get(Watch, NAME, with_for_update=True)
        if found is None:
            row = {"name": NAME, "up_since": now, "seen_at": now}
            session.execute(insert(Watch).values(**row).on_conflict_do_nothing())
            return
        if now - found.seen_at > GAP:
            found.up_since = now
        found.seen_at = now


def listening_since(session: Session, now: datetime) -> datetime | None:
    """Since when listeners have been there without a gap; None where there is none now."""
    found = session.get(Watch, NAME)
    return None if found is None or now - found.seen_at > GAP else found.up_since
