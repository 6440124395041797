"""Observations become state, history, faults and events, in one transaction.

The row of an item's state is locked first, so that whoever observes it (a prober, the heartbeat server, a person who
ends a maintenance window) does so one after the other, and each acts on what the one before has left. That, and the
unique index on open faults, is why two probers that ask the same item still raise one alert.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from platform_api.monitoring import announcing
from platform_api.monitoring.models import Branch, Equipment, EquipmentState, Fault, MaintenanceWindow, StateChange
from platform_api.monitoring.states import Cause, Closed, Effect, Facts, Observation, Opened, Silent, step

OPERATING = ("open",)
"""Statuses of a branch in which its equipment is expected to work."""


@dataclass
class Item:
    """An item whose state is locked: its description, its state, its open faults by group."""

    equipment: Equipment
    state: EquipmentState
    open_faults: dict[str, Fault]


def lock(session: Session, equipment_ids: Iterable[str]) -> dict[str, Item]:
    """Lock the states of items in service (in the order of their ids, so that nobody deadlocks)."""
    wanted = sorted(set(equipment_ids))
    rows = session.execute(
        select(EquipmentState, Equipment)
        .join(Equipment, Equipment.equipment_id == EquipmentState.equipment_id)
        .where(EquipmentState.equipment_id.in_(wanted), Equipment.retired_at.is_(None))
        .order_by(EquipmentState.equipment_id)
        .with_for_update(of=EquipmentState)
        .execution_options(populate_existing=True)
    ).all()
    items = {state.equipment_id: Item(equipment, state, {}) for state, equipment in rows}
    for fault in session.scalars(select(Fault).where(Fault.equipment_id.in_(wanted), Fault.closed_at.is_(None))):
        if fault.equipment_id in items:
            items[fault.equipment_id].open_faults[fault.cause_group] = fault
    return items


def observe(
    session: Session, observations: Sequence[tuple[str, Observation]], now: datetime, probation: timedelta
) -> dict[str, Item]:
    """Record observations of items, in their order. Items retired since are passed over.

    Returns:
        The items as they are afterwards, by id.
    """
    items = lock(session, (equipment_id for equipment_id, _ in observations))
    resting = in_maintenance(session, list(items), now)
    for equipment_id, observation in observations:
        item = items.get(equipment_id)
        if item is not None:
            apply(session, item, observation, equipment_id in resting, now, probation)
    return items


def apply(
    session: Session, item: Item, observation: Observation, maintenance: bool, now: datetime, probation: timedelta
) -> None:
    """Record one observation of a locked item."""
    before = facts_of(item)
    after, effects = step(before, observation, maintenance, now, item.equipment.severity)
    state = item.state
    if isinstance(observation, Silent):
        state.flaps = observation.flaps
    if after != before:
        state.causes = {
            reason: {"since": cause.since.isoformat(), "severity": cause.severity, "detail": cause.detail}
            for reason, cause in after.causes.items()
        }
        state.suspect_since, state.maintenance, state.recovered_at = (
            after.suspect_since,
            after.maintenance,
            after.recovered_at,
        )
    for effect in effects:
        _carry_out(session, item, effect, now)
    name = after.state(now, probation)
    if name != state.state:
        _write_history(session, item, name, before, effects, now)
        state.state, state.since = name, now


def facts_of(item: Item) -> Facts:
    """What is known of an item, as the state machine wants it."""
    state = item.state
    return Facts(
        causes={
            reason: Cause(datetime.fromisoformat(cause["since"]), cause["severity"], cause["detail"])
            for reason, cause in state.causes.items()
        },
        open_faults={group: fault.severity for group, fault in item.open_faults.items()},
        suspect_since=state.suspect_since,
        maintenance=state.maintenance,
        recovered_at=state.recovered_at,
    )


def close(session: Session, item: Item, group: str, resolution: str, now: datetime) -> None:
    """End the open fault of a group, and say so."""
    fault = item.open_faults.pop(group)
    fault.closed_at, fault.resolution = now, resolution
    # The unique index must see it closed before another one opens.
    session.flush()
    item.state.version += 1
    announcing.recovered(session, item.equipment, item.state.version, fault)


def in_maintenance(session: Session, equipment_ids: Sequence[str], now: datetime) -> set[str]:
    """Those of the items that are in a maintenance window now, or whose branch is not in operation."""
    return set(session.scalars(resting(now).where(Equipment.equipment_id.in_(equipment_ids))))


def resting(now: datetime) -> Select[str]:
    """A query of the ids of all items in maintenance at `now`."""
    window = and_(MaintenanceWindow.starts_at <= now, MaintenanceWindow.ends_at > now)
    return select(Equipment.equipment_id).where(
        or_(
            exists().where(window, MaintenanceWindow.equipment_id == Equipment.equipment_id),
            exists().where(
                window, MaintenanceWindow.equipment_id.is_(None), MaintenanceWindow.branch_id == Equipment.branch_id
            ),
            exists().where(Branch.branch_id == Equipment.branch_id, Branch.status.not_in(OPERATING)),
        )
    )


def _carry_out(session: Session, item: Item, effect: Effect, now: datetime) -> None:
    match effect:
        case Closed(group, resolution):
            close(session, item, group, resolution, now)
        case Opened(group, reason, cause):
            fault = Fault(
                equipment_id=item.equipment.equipment_id,
                branch_id=item.equipment.branch_id,
                cause_group=group,
                reason=reason,
                severity=cause.severity,
                detail=cause.detail,
                since=min(cause.since, now),
                detected_at=now,
            )
            session.add(fault)
            session.flush()
            item.open_faults[group] = fault
            item.state.version += 1
            announcing.fault(session, item.equipment, item.state.version, fault)


def _write_history(
    session: Session, item: Item, name: str, before: Facts, effects: list[Effect], now: datetime
) -> None:
    """A line of history. A suspicion is written only once it became a fault: at 5 % loss, they come by the thousand."""
    was = item.state.state
    opened = next((effect for effect in effects if isinstance(effect, Opened)), None)
    fault = item.open_faults.get(opened.group) if opened else None
    if name == "suspect" or (was == "suspect" and name in ("ok", "recovered")):
        return
    if was == "suspect" and before.suspect_since is not None:
        session.add(_line(item, before.suspect_since, "ok", "suspect", None, None))
    reason, detail = (opened.reason, opened.cause.detail) if opened else (None, None)
    session.add(_line(item, now, was, name, reason, detail, fault))


def _line(
    item: Item,
    at: datetime,
    before: str,
    state: str,
    reason: str | None,
    detail: str | None,
    fault: Fault | None = None,
) -> StateChange:
    return StateChange(
        equipment_id=item.equipment.equipment_id,
        at=at,
        before=before,
        state=state,
        reason=reason,
        detail=detail,
        fault_id=fault.fault_id if fault else None,
    )
