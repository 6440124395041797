"""Maintenance windows: times in which an item, or a whole branch, raises no alert. Its probing goes on."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pagination import page
from platform_api.core.schemas import check_match
from platform_api.core.security import Principal, audit
from platform_api.monitoring import recording, registry
from platform_api.monitoring.authority import must_manage, visible
from platform_api.monitoring.models import Branch, Equipment, MaintenanceWindow
from platform_api.monitoring.settings import settings
from platform_api.monitoring.states import Looked

LONGEST = timedelta(days=90)


def plan(session: Session, who: Principal, fields: dict[str, Any]) -> MaintenanceWindow:
    """Plan a window. One that has begun takes effect at once.

    Raises:
        Problem: 403; 404 no such item or branch; 422 `window_invalid`.
    """
    branch_id, equipment_id = fields.get("branch_id"), fields.get("equipment_id")
    if equipment_id is not None:
        equipment, _ = registry.get(session, who, equipment_id)
        if branch_id not in (None, equipment.branch_id):
            raise _invalid("장비가 그 지점에 없습니다.", "The item is not of that branch.")
        branch_id = equipment.branch_id
    if branch_id is None:
        raise _invalid("branch_id나 equipment_id가 필요합니다.", "Name a branch or an item.")
    must_manage(who, branch_id)
    if session.get(Branch, branch_id) is None:
        raise Problem(404, "branch_unknown", "없는 지점입니다.", "There is no such branch.")
    _check(fields["starts_at"], fields["ends_at"])
    window = MaintenanceWindow(
        branch_id=branch_id,
        equipment_id=equipment_id,
        starts_at=fields["starts_at"],
        ends_at=fields["ends_at"],
        reason=fields["reason"],
        created_by=who.id,
    )
    session.add(window)
    session.flush()
    details = {"branch_id": branch_id, "equipment_id": equipment_id, "until": window.ends_at.isoformat()}
    audit.record(session, who.id, "maintenance.plan", window.window_id, details)
    _take_effect(session, window)
    return window


def change(
    session: Session, who: Principal, window_id: str, fields: dict[str, Any], if_match: str | None
) -> MaintenanceWindow:
    """Move a window, end it sooner, or say why anew.

    Raises:
        Problem: 404; 412; 422 `window_invalid`; 428 without If-Match.
    """
    window = get(session, who, window_id, lock=True)
    check_match(if_match, window.version, required=True)
    _check(fields.get("starts_at", window.starts_at), fields.get("ends_at", window.ends_at))
    for name, value in fields.items():
        setattr(window, name, value)
    return _changed(session, who, window, "maintenance.change")


def end(session: Session, who: Principal, window_id: str) -> MaintenanceWindow:
    """End a window now, or call off one that has not begun."""
    window, now = get(session, who, window_id, lock=True), clock.now()
    if window.ends_at <= now:
        return window
    window.starts_at, window.ends_at = min(window.starts_at, now), now
    return _changed(session, who, window, "maintenance.end")


def get(session: Session, who: Principal, window_id: str, lock: bool = False) -> MaintenanceWindow:
    """A window of a branch that the caller manages. Raises 404 otherwise."""
    window = session.get(MaintenanceWindow, window_id, with_for_update=lock or None)
    if window is None or not who.manages(window.branch_id):
        raise Problem(404, "not_found", "없는 점검 시간입니다.", "There is no such maintenance window.")
    return window


def listed(session: Session, who: Principal, query: dict[str, Any]) -> tuple[list[MaintenanceWindow], str | None]:
    """A page of windows, newest first; past ones too where asked for."""
    wanted = select(MaintenanceWindow).where(visible(who, query["branch_id"], MaintenanceWindow.branch_id))
    if query["equipment_id"]:
        wanted = wanted.where(MaintenanceWindow.equipment_id == query["equipment_id"])
    if not query["past"]:
        wanted = wanted.where(MaintenanceWindow.ends_at > clock.now())
    return page(session, wanted, [MaintenanceWindow.window_id], query["cursor"], query["limit"])


def _changed(session: Session, who: Principal, window: MaintenanceWindow, action: str) -> MaintenanceWindow:
    window.version += 1
    session.flush()
    audit.record(session, who.id, action, window.window_id, {"until": window.ends_at.isoformat()})
    _take_effect(session, window)
    return window


def _take_effect(session: Session, window: MaintenanceWindow) -> None:
    """Bring the states of the items concerned into line now, instead of at the prober's next look."""
    concerned = select(Equipment.equipment_id).where(Equipment.retired_at.is_(None))
    if window.equipment_id is not None:
        concerned = concerned.where(Equipment.equipment_id == window.equipment_id)
    else:
        concerned = concerned.where(Equipment.branch_id == window.branch_id)
    looked = [(equipment_id, Looked()) for equipment_id in session.scalars(concerned)]
    recording.observe(session, looked, clock.now(), settings().probation)


def _check(starts_at: datetime, ends_at: datetime) -> None:
    if not starts_at < ends_at <= starts_at + LONGEST or ends_at <= clock.now():
        raise _invalid(
            f"끝은 시작과 지금보다 뒤, 시작부터 {LONGEST.days}일 안이어야 합니다.",
            f"The end must lie after the start and after now, within {LONGEST.days} days of the start.",
        )


def _invalid(ko: str, en: str) -> Problem:
    return Problem(422, "window_invalid", ko, en)
