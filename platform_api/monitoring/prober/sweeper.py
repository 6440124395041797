"""What comes due without an echo: a heartbeat that was missed, a maintenance window that begins or ends, a probation over."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, union
from sqlalchemy.orm import Session

from platform_api.monitoring import recording
from platform_api.monitoring.heartbeat.watch import listening_since
from platform_api.monitoring.models import Equipment, EquipmentState, Fault, StateChange
from platform_api.monitoring.states import HeartbeatMissed, Looked, Observation

MOST = 1000
"""So many at one look; the next look finds the rest."""


def due(
    session: Session, shards: Iterable[int], now: datetime, grace: timedelta, probation: timedelta
) -> list[tuple[str, Observation]]:
    """What must be observed of the items of `shards` because of the time."""
    of_shards = EquipmentState.shard.in_(sorted(shards))
    found: list[tuple[str, Observation]] = []
    since = listening_since(session, now)
    if since is not None:
        found += _missed(session, of_shards, now, since, grace)
    found += [(equipment_id, Looked()) for equipment_id in _maintenance_changed(session, of_shards, now)]
    over = select(EquipmentState.equipment_id).where(
        of_shards, EquipmentState.state == "recovered", EquipmentState.recovered_at <= now - probation
    )
    found += [(equipment_id, Looked()) for equipment_id in session.scalars(over.limit(MOST))]
    return found


def _missed(
    session: Session, of_shards: ColumnElement[bool], now: datetime, listening: datetime, grace: timedelta
) -> list[tuple[str, Observation]]:
    """Items whose line is overdue, though somebody has been listening for a whole interval and its grace."""
    rows = session.execute(
        select(
            EquipmentState.equipment_id,
            EquipmentState.last_heartbeat_at,
            EquipmentState.heartbeat_due_at,
            Equipment.heartbeat_interval_s,
        )
        .join(Equipment, Equipment.equipment_id == EquipmentState.equipment_id)
        .where(
            of_shards,
            EquipmentState.heartbeat_due_at < now,
            ~EquipmentState.causes.op("?", is_comparison=True)("no_heartbeat"),
            Equipment.retired_at.is_(None),
            Equipment.public_key.is_not(None),
        )
        .order_by(EquipmentState.heartbeat_due_at)
        .limit(MOST)
    )
    return [
        (equipment_id, HeartbeatMissed(last or due_at or now))
        for equipment_id, last, due_at, interval in rows
        if listening + timedelta(seconds=interval) + grace <= now
    ]


def _maintenance_changed(session: Session, of_shards: ColumnElement[bool], now: datetime) -> list[str]:
    """Items that should be in maintenance and are not, or the other way round."""
    marked = select(EquipmentState.equipment_id).where(EquipmentState.maintenance)
    should = recording.resting(now)
    wrong = union(should.except_(marked), marked.except_(should)).subquery()
    query = (
        select(EquipmentState.equipment_id)
        .join(Equipment, Equipment.equipment_id == EquipmentState.equipment_id)
        .where(of_shards, Equipment.retired_at.is_(None), EquipmentState.equipment_id.in_(select(wrong.c.equipment_id)))
    )
    return list(session.scalars(query.limit(MOST)))


def forget(session: Session, now: datetime, keep: timedelta) -> None:
    """Delete history and closed faults older than `keep`."""
    session.execute(delete(StateChange).where(StateChange.at < now - keep))
    session.execute(delete(Fault).where(Fault.closed_at < now - keep))
