"""What this domain does again and again."""

from datetime import timedelta

from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.jobs import every
from platform_api.helper import limits, objects, tasks

COUNTS_KEPT = timedelta(days=60)


@every("helper", timedelta(minutes=10))
def expire_tasks() -> int:
    """Let tasks expire that nobody decided about. Returns how many."""
    total = 0
    while True:
        with unit_of_work("helper") as session:
            done = tasks.expire(session)
        total += done
        if not done:
            return total


@every("helper", timedelta(hours=1))
def delete_photos() -> None:
    """Delete pictures past their time, objects a crash left behind, and old counters."""
    while True:
        with unit_of_work("helper") as session:
            if not tasks.forget_photos(session):
                break
    while objects.photos.sweep():
        pass
    with unit_of_work("helper") as session:
        limits.forget(session, (clock.now() - COUNTS_KEPT).date())
