"""What gate nodes report of the models they run, passed on to mlops; the packages they fetch.

A report holds counts and times, no face and no member. It is known by its id, so that a node whose answer was lost may
send it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.access.device_auth import Device
from platform_api.access.models import Model, ModelReport
from platform_api.access.strangers import store
from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.events import publish

KEEP = timedelta(days=14)
CHUNK = 2**20


@dataclass(frozen=True)
class Package:
    """A model's signed archive in the object store."""

    object_key: str
    sha256: str
    size: int

    def chunks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes [start, end), a MiB at a time; nothing of it lies in memory whole."""
        for at in range(start, end, CHUNK):
            yield store().read(self.object_key, at, min(at + CHUNK, end))


def take(session: Session, device: Device, reports: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Pass reports on. Returns how many were new, and how many were not: known already, or of a model unknown here."""
    versions = {report["version"] for report in reports}
    known = set(session.scalars(select(Model.version).where(Model.version.in_(versions))))
    taken = 0
    for report in sorted(reports, key=lambda item: str(item["report_id"])):
        if report["version"] not in known:
            continue
        values = {"report_id": report["report_id"], "edge_id": device.edge_id, "version": report["version"]}
        new = session.scalar(
            insert(ModelReport)
            .values(values | {"received_at": clock.now()})
            .on_conflict_do_nothing()
            .returning(ModelReport.report_id)
        )
        if new is None:
            continue
        data = {**report, "model": "face", "edge_id": device.edge_id, "at": report["at"].isoformat()}
        publish(session, "access.ModelObserved", subject=report["report_id"], version=1, data=data)
        taken += 1
    return taken, len(reports) - taken


def package(session: Session, version: str) -> Package:
    """The archive of a model that is in use, staged, or kept for a way back.

    Raises:
        Problem: 404 `no_package`.
    """
    model = session.get(Model, version)
    if model is None or model.stage == "retired" or not (model.archive_key and model.archive_sha256):
        raise _none()
    if not store().exists(model.archive_key):
        raise _none()
    return Package(model.archive_key, model.archive_sha256, int(model.archive_bytes or 0))


def forget(session: Session) -> int:
    """Forget old reports: a node does not keep any for so long. Returns how many."""
    gone = session.execute(
        delete(ModelReport).where(ModelReport.received_at < clock.now() - KEEP).returning(ModelReport.report_id)
    )
    return len(gone.all())


def _none() -> Problem:
    return Problem(
        404, "no_package", "받을 수 있는 모델 패키지가 없습니다.", "There is no package of that model to fetch."
    )
