"""Faults of equipment: who is told, and who next where nobody acknowledges.

A fault goes to the managers of the branch; at once to the operators too where it is critical, or where no manager can be
reached. Unacknowledged, it goes to both after a stated time, and again, so many times. A critical fault is never held back
in a digest.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.events import Event
from platform_api.core.pagination import page
from platform_api.core.security import Principal, audit
from platform_api.notification import branches, members
from platform_api.notification.announcing import Announcement, announce
from platform_api.notification.floods import Topic
from platform_api.notification.kinds import KINDS
from platform_api.notification.models import Alert, Branch
from platform_api.notification.rendering import Moment, Value, Word
from platform_api.notification.settings import settings

FAULT, RECOVERED, ACKNOWLEDGED = (
    KINDS[name] for name in ("equipment_fault", "equipment_recovered", "fault_acknowledged")
)
BATCH = 50


class NotKnownYet(Exception):
    """What the event is about has not been heard of: tried again, and a dead letter in the end."""


def opened(session: Session, event: Event) -> None:
    """A fault begins.

    Raises:
        NotKnownYet: there is nobody at all to be told.
    """
    data = event.data
    statement = insert(Alert).values(
        **{
            name: data[name] for name in ("fault_id", "equipment_id", "branch_id", "name", "kind", "reason", "severity")
        },
        state="open",
        level=0,
        told=[],
        since=datetime.fromisoformat(data["since"]),
        detected_at=datetime.fromisoformat(data["detected_at"]),
        next_at=clock.now() + timedelta(seconds=settings().notification_escalate_after_s),
    )
    alert = session.scalars(statement.on_conflict_do_nothing().returning(Alert)).one_or_none()
    if alert is None:
        return
    managers = branches.managers(session, alert.branch_id)
    to = set(managers)
    if alert.severity == "critical" or not members.reachable(session, managers):
        to |= set(members.operators(session))
    _tell(session, alert, str(event.id), event.time, to)
    if not alert.told:
        raise NotKnownYet(f"nobody is known who could be told of a fault in branch {alert.branch_id}")


def tell_managers(session: Session, branch: Branch, member_ids: list[str]) -> None:
    """Tell new managers of faults that are open in their branch (also where the fault was heard of before the branch)."""
    query = select(Alert).where(Alert.branch_id == branch.branch_id, Alert.state == "open")
    for alert in session.scalars(query.order_by(Alert.fault_id).with_for_update()):
        new = set(member_ids) - set(alert.told)
        _tell(session, alert, f"fault:{alert.fault_id}:manager:{branch.version}", clock.now(), new)


def acknowledged(session: Session, event: Event) -> None:
    """Somebody has seen to a fault: no more escalation, and the others hear that they need not.

    Raises:
        NotKnownYet: the fault has not been heard of.
    """
    alert = _locked(session, event.data["fault_id"])
    if alert.state != "open":
        return
    alert.state, alert.next_at = "acknowledged", None
    alert.acknowledged_by, alert.acknowledged_at = event.data["by"], datetime.fromisoformat(event.data["at"])
    others = set(alert.told) - {event.data["by"]}
    announce(session, _about(session, alert, str(event.id), event.time, ACKNOWLEDGED, "fault_acknowledged"), others)


def recovered(session: Session, event: Event) -> None:
    """A fault is over: those who heard of it hear that.

    Raises:
        NotKnownYet: the fault has not been heard of.
    """
    alert = _locked(session, event.data["fault_id"])
    if alert.state == "recovered":
        return
    alert.state, alert.next_at = "recovered", None
    alert.recovered_at = datetime.fromisoformat(event.data["recovered_at"])
    announce(
        session,
        _about(
            session,
            alert,
            str(event.id),
            event.time,
            RECOVERED,
            "equipment_recovered",
            Topic(f"recovery:{alert.branch_id}", "digest_recovery", alert.name, urgent=True),
            minutes=_minutes(alert.since, alert.recovered_at),
        ),
        alert.told,
    )


def escalate(session: Session) -> int:
    """Escalate faults that have gone unacknowledged for too long. Returns how many."""
    now = clock.now()
    due = select(Alert).where(Alert.state == "open", Alert.next_at <= now).order_by(Alert.next_at).limit(BATCH)
    found = list(session.scalars(due.with_for_update(skip_locked=True)))
    for alert in found:
        alert.level += 1
        last = alert.level >= settings().notification_escalations_max
        alert.next_at = None if last else now + timedelta(seconds=settings().notification_escalate_again_s)
        to = {*branches.managers(session, alert.branch_id), *members.operators(session)}
        topic = Topic(f"escalation:{alert.branch_id}", "digest_escalation", alert.name, urgent=True)
        what = _about(
            session,
            alert,
            f"fault:{alert.fault_id}:escalation:{alert.level}",
            now,
            FAULT,
            "fault_escalated",
            None if alert.severity == "critical" else topic,
            minutes=_minutes(alert.detected_at, now),
        )
        told = announce(session, what, to)
        alert.told = sorted({*alert.told, *told})
        audit.record(session, "system", "fault.escalate", alert.fault_id, {"level": alert.level, "told": len(told)})
    return len(found)


def listed(
    session: Session, who: Principal, *, branch_id: str | None, state: str | None, cursor: str | None, limit: int
) -> tuple[list[Alert], str | None]:
    """Faults and how far each has escalated, newest first: all for operators, of their own branches for managers."""
    query = select(Alert)
    if not who.is_operator:
        query = query.where(Alert.branch_id.in_(sorted(who.branch_ids)))
    if branch_id is not None:
        query = query.where(Alert.branch_id == branch_id)
    if state is not None:
        query = query.where(Alert.state == state)
    return page(session, query, [Alert.detected_at, Alert.fault_id], cursor, limit)


def _tell(session: Session, alert: Alert, key: str, at: datetime, to: set[str]) -> None:
    topic = Topic(f"fault:{alert.branch_id}", "digest_fault", alert.name, urgent=True)
    what = _about(
        session,
        alert,
        key,
        at,
        FAULT,
        "equipment_fault",
        None if alert.severity == "critical" else topic,
        at=Moment(alert.since),
    )
    alert.told = sorted({*alert.told, *announce(session, what, to)})


def _about(
    session: Session,
    alert: Alert,
    key: str,
    occurred_at: datetime,
    kind: Any,
    template: str,
    topic: Topic | None = None,
    **values: Value,
) -> Announcement:
    known: dict[str, Value] = {
        "branch": branches.named(session, alert.branch_id),
        "name": alert.name,
        "severity": Word("severity", alert.severity),
        "reason": Word("fault_reason", alert.reason),
    }
    data = {"fault_id": alert.fault_id, "equipment_id": alert.equipment_id, "branch_id": alert.branch_id}
    return Announcement(key, kind, template, {**known, **values}, data, occurred_at, topic)


def _locked(session: Session, fault_id: str) -> Alert:
    alert = session.get(Alert, fault_id, with_for_update=True, populate_existing=True)
    if alert is None:
        raise NotKnownYet(f"fault {fault_id} has not been heard of")
    return alert


def _minutes(start: datetime, end: datetime) -> int:
    return max(1, round((end - start).total_seconds() / 60))
