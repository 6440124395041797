"""Maintenance of the access domain: what is past its time is deleted, keys and indexes are kept in order.

The worker does it every few minutes (`jobs`); `python -m platform_api.access.purge` does it now and prints what was done.
Each step is a transaction of its own, so one that fails (told in the log and by the exit status) keeps no other back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import delete
from sqlalchemy.orm import Session

from platform_api.access import (
    entries,
    face_models,
    feed,
    gallery,
    memberships,
    observations,
    qr,
    strangers,
)
from platform_api.access.models import DeviceAssertion, Entry, QrPass
from platform_api.access.settings import settings
from platform_api.core import clock
from platform_api.core.database import unit_of_work
from platform_api.core.telemetry import configure_logging

log = structlog.get_logger(__name__)


def spent_assertions(session: Session) -> int:
    """Forget assertions that have expired anyway."""
    gone = session.execute(
        delete(DeviceAssertion).where(DeviceAssertion.expires_at < clock.now()).returning(DeviceAssertion.jti)
    )
    return len(gone.all())


def issued_passes(session: Session) -> int:
    """Forget passes issued more than a day ago."""
    gone = session.execute(
        delete(QrPass).where(QrPass.issued_at < clock.now() - timedelta(days=1)).returning(QrPass.jti)
    )
    return len(gone.all())


def stale_occupancy(session: Session) -> int:
    """Have edges look again at branches where somebody has just been in for too long."""
    end = clock.now() - timedelta(hours=settings().presence_max_hours)
    query = Entry.__table__.select().with_only_columns(Entry.branch_id).distinct()
    branches = session.scalars(query.where(Entry.at <= end, Entry.at > end - timedelta(hours=1))).all()
    for branch_id in sorted(branches):
        feed.touch(session, "occupancy", [branch_id], [branch_id])
    return len(branches)


def qr_keys(session: Session) -> int:
    """Rotate the keys of QR passes when they have grown old."""
    qr.keep_keys(session)
    return 0


STEPS: dict[str, Callable[[Session], int]] = {
    "strangers": strangers.purge,
    "memberships_lapsed": lambda s: memberships.lapse(s, timedelta(days=settings().memberships_keep_days)),
    "entries": lambda s: entries.forget(s, timedelta(days=settings().entries_keep_days)),
    "deletions_forgotten": lambda s: feed.forget_deletions(s, timedelta(days=settings().feed_deletions_keep_days)),
    "assertions": spent_assertions,
    "passes": issued_passes,
    "occupancy": stale_occupancy,
    "qr_keys": qr_keys,
    "galleries": face_models.drop_retired,
    "model_reports": observations.forget,
    "indexes": lambda s: len(gallery.build_indexes(s, settings().gallery_exact_rows)),
}


def run() -> dict[str, int | None]:
    """All steps. Returns what each did; None for one that failed."""
    done: dict[str, int | None] = {}
    for name, step in STEPS.items():
        try:
            with unit_of_work("access") as session:
                done[name] = step(session)
        except Exception:
            log.exception("maintenance_failed", step=name)
            done[name] = None
    return done


def main() -> int:
    """The command; see the module."""
    configure_logging("smartfit-access-purge", settings().log_level)
    done = run()
    sys.stdout.write(json.dumps(done) + "\n")
    return 1 if None in done.values() else 0


if __name__ == "__main__":
    sys.exit(main())
