"""Where a notification leads: to the page that shows what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import url_for

from platform_api.web.signin import Person

_BY_KIND = {
    "access_granted": {"": "customer.entries"},
    "access_denied": {"": "customer.entries"},
    "account": {"": "customer.account"},
    "task": {"helper": "helper.tasks", "branch_manager": "manager.queue"},
    "equipment_fault": {"operator": "operations.faults", "branch_manager": "manager.equipment"},
    "equipment_recovered": {"operator": "operations.faults", "branch_manager": "manager.equipment"},
    "fault_acknowledged": {"operator": "operations.faults", "branch_manager": "manager.equipment"},
    "model": {"operator": "operations.models"},
    "security": {"operator": "operations.audit"},
}


def leads_to(notification: Mapping[str, Any], who: Person) -> str | None:
    """The page, if there is one that this person may see."""
    kind, branch_id = notification["kind"], notification["data"].get("branch_id")
    if kind in ("branch", "for_you") and branch_id:
        managed = branch_id in who.branch_ids and who.has("branch_manager")
        return url_for("manager.branch") if managed else url_for("customer.gym", branch_id=branch_id)
    for role, endpoint in _BY_KIND.get(kind, {}).items():
        if not role or who.has(role):
            return url_for(endpoint)
    return None


def kinds_for(who: Person) -> list[str]:
    """The kinds that somebody with these roles is told."""
    found = ["account", "access_denied", "access_granted", "branch", "for_you"]
    if who.has("helper"):
        found.append("task")
    if who.has("operator", "branch_manager"):
        found += ["equipment_fault", "equipment_recovered", "fault_acknowledged"]
    if who.has("operator"):
        found += ["model", "security"]
    return found
