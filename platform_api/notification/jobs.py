"""What this domain does again and again."""

from datetime import timedelta

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.jobs import every
from platform_api.notification import addresses, alerts, floods, history
from platform_api.notification.settings import settings

BATCH = 1000
_FLOODS_KEPT = timedelta(days=1)


@every("notification", timedelta(seconds=5))
def escalate_faults() -> int:
    """Pass on faults that nobody has acknowledged. Returns how many."""
    total = 0
    while True:
        with unit_of_work("notification") as session:
            done = alerts.escalate(session)
        total += done
        if done < alerts.BATCH:
            return total


@every("notification", timedelta(hours=1))
def forget_old() -> None:
    """Delete history past its time, and what the limits count no more."""
    now = clock.now()
    with unit_of_work("notification") as session:
        floods.forget(session, now - _FLOODS_KEPT)
        addresses.forget(session)
    before = now - timedelta(days=settings().notification_keep_days)
    while True:
        with unit_of_work("notification") as session:
            if history.forget(session, before, BATCH) < BATCH:
                return
